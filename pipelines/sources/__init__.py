"""How a dataset folder comes to be: demo city, folders, downloads, tables.

Imports datasets and the ground.
"""
