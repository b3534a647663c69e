"""Choose part of a dataset, and hold some of it out: filters of classes, splits, grouped, seeded.

Functions on arrays, but for tables.py and select.py. Nothing here opens an image.
"""
