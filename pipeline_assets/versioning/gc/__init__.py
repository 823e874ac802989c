"""Finds and removes objects that no version and no table needs."""
