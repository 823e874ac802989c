"""One picture of a file, as its container declares it."""

from dataclasses import dataclass

MAX_BLOCKS = 100_000


@dataclass(frozen=True)
class Still:
    """One picture of a file. size: declared (width, height), null where only the decoder knows it.

    data: a file of the same format that holds this picture alone; exif: a TIFF block; frames: 2 stands for more;
    coded_px: what is decoded for it, where that is not its size.
    """

    data: bytes
    size: tuple[int, int] | None = None
    exif: bytes | None = None
    frames: int = 1
    coded_px: int = 0
