"""A finished run against a solution: evaluate, ablate, compare.

Imports stages, answers, runs and all that is below.
"""
