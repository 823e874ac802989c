"""The endpoint: one photo, one user and one moment to a prediction, over HTTP."""
