"""Label Studio's brush: run-length encoded RGBA pixels, packed bit by bit. Pure.

32 bits: number of values; 5: bits of a value, less one; 4 x 4: four sizes of lengths, less one. Then parts: 1 bit, whether
one value repeats; 2 bits, which size; the length less one; one value, or that many. A mask is where alpha is not 0.
Source: `brush.py` of label-studio-converter, and rle-pack of thi.ng/umbrella, which the page itself uses.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.services.bitmaps import Bitmap, require

MAX_BYTES = 16 << 20
_SIZES = (3, 4, 8, 16)
_CHANNELS = 4


def decode(packed: Any, width: int, height: int) -> Bitmap:
    """The mask of a brush's `rle`, a list of bytes. Raises UnfitParent(bad_labels) unless it fills width x height."""
    require((height, width))
    if not isinstance(packed, list) or not 0 < len(packed) <= MAX_BYTES:
        raise UnfitParent("bad_labels", f"the rle of a brush is a list of up to {MAX_BYTES:,} bytes")
    try:
        data = bytes(packed)
    except (TypeError, ValueError):
        raise UnfitParent("bad_labels", "the rle of a brush has a value that is no byte") from None
    values = np.empty(width * height * _CHANNELS, np.uint8)
    try:
        _fill(values, f"{int.from_bytes(data):0{len(data) * 8}b}")
    except ValueError:  # of int(""): the bits end too early
        raise UnfitParent("bad_labels", "the rle of a brush ends inside of a run") from None
    return values.reshape(height, width, _CHANNELS)[:, :, 3] > 0


def _fill(values: Any, bits: str) -> None:
    """Unpack into all of `values`."""
    number, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
    if number != values.size or word != 8:
        claim = f"{number:,} values of {word} bits"
        raise UnfitParent("bad_labels", f"the rle of a brush has {claim}, and its photo {values.size:,} of 8")
    sizes = [int(bits[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    at, filled = 53, 0
    while filled < number:
        repeats, size = bits[at] == "1" if at < len(bits) else int(""), sizes[int(bits[at + 1 : at + 3], 2)]
        length = int(bits[at + 3 : at + 3 + size], 2) + 1
        at += 3 + size
        words = 1 if repeats else length
        if filled + length > number or at + words * word > len(bits):
            raise ValueError
        if repeats:
            values[filled : filled + length] = int(bits[at : at + word], 2)
        else:
            values[filled : filled + length] = [int(bits[i : i + word], 2) for i in range(at, at + words * word, word)]
        at, filled = at + words * word, filled + length


def encode(bitmap: Bitmap) -> list[int]:
    """A mask as a brush's `rle`: all four channels are 255 inside, and 0 outside."""
    flat = bitmap.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0, *ends.tolist()]
    lengths = np.diff([*starts, flat.size]) * _CHANNELS
    head = f"{flat.size * _CHANNELS:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    runs = zip(flat[starts].tolist(), lengths.tolist(), strict=True)
    bits = head + "".join(part for is_set, length in runs for part in _run(255 if is_set else 0, length))
    padded = bits + "0" * (-len(bits) % 8)
    return list(int(padded, 2).to_bytes(len(padded) // 8))


def _run(value: int, length: int) -> Iterator[str]:
    longest = 1 << _SIZES[-1]
    for part in _parts(length, longest):
        which = next(number for number, size in enumerate(_SIZES) if part <= 1 << size)
        yield f"1{which:02b}{part - 1:0{_SIZES[which]}b}{value:08b}"


def _parts(length: int, longest: int) -> Sequence[int]:
    return [longest] * (length // longest) + ([length % longest] if length % longest else [])
