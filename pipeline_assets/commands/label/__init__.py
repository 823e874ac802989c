"""`darkroom label`: campaigns, and how their questions leave and their answers arrive."""
