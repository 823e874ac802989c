"""Repositories of git-lfs: pointers and objects."""
