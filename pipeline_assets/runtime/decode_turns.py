"""Very large pictures are decoded one at a time, so that several of them can't exhaust memory.

At Pillow's limit of pixels, decoding one picture needs up to 1.4 GiB, whatever the size of its file.
"""

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

LARGE_PX = 2**24
"""64 MiB when decoded; smaller pictures are decoded at the same time."""

_TURN = threading.Lock()
_LOCK_FILES: list[int] = []
"""The descriptor of the file that several processes lock for their turn; empty in a single process."""


def turn_file() -> int:
    """The descriptor to pass to another process, which calls `share_turns` with it to take turns with this one."""
    with _TURN:
        if not _LOCK_FILES:
            with tempfile.TemporaryFile() as file:
                _LOCK_FILES.append(os.dup(file.fileno()))
    return _LOCK_FILES[0]


def share_turns(file: int) -> None:
    """Take turns with all processes that share this file."""
    _LOCK_FILES[:] = [file]


@contextmanager
def decoding(image: Image.Image) -> Iterator[None]:
    """Decode an opened picture in this block: a large one waits until no other large one is being decoded.

    A baseline JPEG counts as small: it is scaled while it is read, a few rows at a time.
    """
    is_streamed = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    if is_streamed or image.width * image.height <= LARGE_PX:
        yield
        return
    with _TURN:
        for file in _LOCK_FILES:
            fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            for file in _LOCK_FILES:
                fcntl.lockf(file, fcntl.LOCK_UN)
