"""Questions and answers as files of labeling services and tools: one internal form, a reader and a writer for each format.

What lives here: bytes, text and paths in, values out. What does not: where tasks come from and where answers land
(`exchange/files.py`).
"""
