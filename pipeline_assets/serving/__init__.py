"""Serves, at any moment, the features and predictions that the tables would have computed for that moment."""
