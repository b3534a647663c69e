"""What a dataset folder is, and datasets made of datasets.

Imports the ground: artifacts.py, progress.py and what else lies beside them.
"""
