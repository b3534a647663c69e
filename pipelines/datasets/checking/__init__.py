"""Look for images that spoil a dataset: unreadable, tiny, twice, across the split, mislabelled."""
