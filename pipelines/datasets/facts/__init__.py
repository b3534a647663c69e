"""What a dataset holds: its tables, classes and images, counted."""
