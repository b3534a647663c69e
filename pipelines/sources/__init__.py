"""How a dataset folder comes to be: demo city, folders, downloads, tables.

Imports datasets and the ground. Each source is a function of its input and a dataset folder; all
keep one contract, which tests/test_sources_contract.py tests of each of them:

1. Judge first. Whatever can be known to be wrong with the input is an InputError or a
   MissingFileError before the folder is touched: it is neither made nor claimed.
2. Claim. `datasets.origin.claim` writes dataset.json, {kind of source: what a later call must have
   in common with this one}, before anything long. It takes a folder that is new, has no tables, or
   is of the same origin; any other it refuses, and leaves as it is. Nothing is written before it.
3. Images, each whole or not there: at its place in images/ where that is free, else in the folder
   of the renewal. A file is linked (`datasets.linking.link_image`) and bytes are written under
   another name first, so what is there need not be made again.
4. Tables, all of them in one `datasets.renewal.renewing` block that names every table the source
   may write: train or index with at least one row, test, solution, non_landmark, labels. A row
   whose image could not be had is in no table but test, since each query needs an answer; it is
   listed with its reason in a table of its own (failures.parquet, missing.parquet).

A folder is a dataset as soon as `Dataset(folder)` opens it, and that takes a train or an index
table: whoever is killed before the renewal leaves none, or the dataset that was there before.
The same call again goes on from the images that are there and ends in the same bytes.
"""
