"""Features of a user as of a moment."""
