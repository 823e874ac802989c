"""Packs many values of `layout.py` at once, from arrays."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_assets.serving.state.layout import FORMAT

Words = npt.NDArray[np.int64]
_AT_ONCE = 65_536


@dataclass(frozen=True)
class Rows:
    """Rows of words that belong to values. counts: (n,) rows of each value. words: (sum of counts, width), by value."""

    counts: Words
    words: Words

    @classmethod
    def of(cls, values: Words, words: Words, count: int) -> "Rows":
        """Rows of these values (ascending positions, 0 to count - 1)."""
        return cls(np.bincount(values, minlength=count).astype(np.int64), words)


def packed(headers: Words, parts: Sequence[Rows] = ()) -> Iterator[bytes]:
    """One value for each row of `headers` (n, h), followed by its rows of each part. Raises nothing.

    The first word of a header has flags in its second byte and a number in its upper half; the rest of it is filled in here.
    """
    ends = [np.cumsum(part.counts) for part in parts]
    for start in range(0, len(headers), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(headers))
        chunk = []
        for part, end in zip(parts, ends, strict=True):
            first = int(end[start - 1]) if start else 0
            chunk.append(Rows(part.counts[start:stop], part.words[first : int(end[stop - 1])]))
        yield from _packed(headers[start:stop], chunk)


def _packed(headers: Words, parts: Sequence[Rows]) -> Iterator[bytes]:
    width = headers.shape[1]
    sizes = np.full(len(headers), width, np.int64)
    for part in parts:
        sizes += part.counts * part.words.shape[1]
    ends = np.cumsum(sizes)
    places = ends - sizes
    out = np.empty(int(ends[-1]), "<i8")
    out[places[:, None] + np.arange(width)] = headers
    out[places] |= FORMAT | (sizes & 0xFFFF) << 16
    places = places + width
    for part in parts:
        each = part.words.shape[1]
        first = np.repeat(places - each * (np.cumsum(part.counts) - part.counts), part.counts)
        out[(first + each * np.arange(len(part.words)))[:, None] + np.arange(each)] = part.words
        places = places + each * part.counts
    data = out.tobytes()
    borders = [0, *(8 * ends).tolist()]
    for begin, end in itertools.pairwise(borders):
        yield data[begin:end]
