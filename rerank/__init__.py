"""Query and neighbours to verified neighbours: local features, matching and geometry."""
