"""Revisited Oxford and Paris: their ground truth, and a dataset made of it."""
