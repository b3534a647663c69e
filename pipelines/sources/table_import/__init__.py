"""Make a dataset of a table and its images: files, or bytes in Parquet."""
