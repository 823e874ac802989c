"""Event logs: files, lines, and which days are complete."""
