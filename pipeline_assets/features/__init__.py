"""Features of a user, as known at a moment."""
