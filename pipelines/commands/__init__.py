"""The commands of the command line: each reads options and calls one stage.

Stages are imported when they are called: `cairn --help` and `cairn query` must start fast.
"""
