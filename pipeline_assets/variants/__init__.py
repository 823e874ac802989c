"""Augmented and synthetic data: recipes, the engine that makes variants, and one package per kind of data."""
