"""Darkroom's assets, one folder for each group, with pure functions and thin declarations."""

import gc

# Imports create half a million objects that live as long as the process. With Python's default threshold of 700, repeated
# collections over them take half a second of every command. With `gc.freeze` in `definitions.py`, they load in 2.9 CPU s
# instead of 4.4 (both on a busy machine).
gc.set_threshold(10_000, 10, 10)
