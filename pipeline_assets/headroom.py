"""Room for decoding: very large pictures take turns, so that a few of them at once can't take a process's memory.

At Pillow's limit of pixels one picture needs up to 1.4 GiB while it is decoded, whatever its file weighs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

LARGE_PX = 2**24
"""Decoded, 64 MiB: several of these at once are no matter."""

_TURN = threading.Lock()


@contextmanager
def decoding(image: Image.Image) -> Iterator[None]:
    """A block in which an opened picture is decoded: alone among the large ones of this process, if it is large.

    A baseline JPEG counts as small: it is scaled while it is read, a few rows at a time.
    """
    is_streamed = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    if is_streamed or image.width * image.height <= LARGE_PX:
        yield
        return
    with _TURN:
        yield
