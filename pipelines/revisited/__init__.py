"""Revisited Oxford and Paris: make a dataset of them, and score a run by their ground truth."""
