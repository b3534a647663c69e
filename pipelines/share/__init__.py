"""A run as one file that others can use: packed, and unpacked without trust.

Imports answers, runs, datasets and the ground.
"""
