"""Models as a search sees them: the level of access, metered rows, and how answers are read."""
