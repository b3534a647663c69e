"""The demo city: rendered landmarks, offline and seeded."""
