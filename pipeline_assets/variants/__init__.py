"""Augmented and synthetic data: recipes, the engine that makes variants, and one package for each kind of data."""
