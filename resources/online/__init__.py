"""The online store: packed values by key, in generations that replace one another at once, on four servers."""
