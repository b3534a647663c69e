"""A run as a server: the JSON API, the page, and the thread that asks the run."""
