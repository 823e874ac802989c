"""Allocators told to give freed memory back at once. They keep it for a next use, which a command that runs once hasn't.

The opposite, for work that uses the same large buffers again and again, is `classify.memory`.
"""

import os

_SETTINGS = {
    # Arrow's own pool keeps 60 MB of a manifest's pages.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # jemalloc inside polars keeps what was freed for half a second.
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",
}


def give_freed_memory_back() -> None:
    """For this process, and those that it starts, unless they are told otherwise. Before polars and Arrow are loaded."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
