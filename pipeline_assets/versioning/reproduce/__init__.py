"""Computes a pinned version again with the code of its commit, and compares."""
