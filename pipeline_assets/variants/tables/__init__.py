"""Variants of tables."""
