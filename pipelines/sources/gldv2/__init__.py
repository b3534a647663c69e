"""Google Landmarks Dataset v2: its addresses, its files fetched and verified, its tables."""
