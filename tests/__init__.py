"""Tests of cairn."""
