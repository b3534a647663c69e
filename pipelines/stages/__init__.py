"""Each stage makes one artifact of a run from others.

Imports answers, runs and all that is below.
"""
