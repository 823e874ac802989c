"""Writes the files of a version to a folder, and keeps the folder as the version has it."""
