"""Descriptors to neighbours: building, searching and measuring the index."""
