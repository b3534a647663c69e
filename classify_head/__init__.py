"""Neighbours and head to label and confidence: heads, votes, rejection and GAP."""
