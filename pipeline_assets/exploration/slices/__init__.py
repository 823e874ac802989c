"""Slices of the data on which the night's model is worse than it is elsewhere."""
