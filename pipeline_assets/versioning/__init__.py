"""Versions: digests of rows and of code. Pins, checkouts and diffs build on these."""
