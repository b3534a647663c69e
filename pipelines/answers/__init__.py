"""A run, opened: photo, descriptor, neighbours, evidence, decision, answer.

Imports runs and all that is below.
"""
