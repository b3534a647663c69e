"""HTML pages for people: the report of a run, and the answers to photos, one file each."""
