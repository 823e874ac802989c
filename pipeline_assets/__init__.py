"""Darkroom's software-defined assets: one folder a group, pure functions beside thin declarations."""

import gc

# Modules make half a million objects that live as long as the process: at Python's 700 a generation, looking through them
# for garbage again and again takes half a second of every command.
gc.set_threshold(10_000, 10, 10)
