"""Make datasets whose classes are of more equal size."""
