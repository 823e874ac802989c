"""COCO's run-length encoded masks: their runs, as a list and as COCO's text, and as polygons along pixel edges.

The polygons are exact, and need no bitmap.

Runs go down the columns, from left to right; the first one is outside the mask. Source: cocodataset/cocoapi,
common/maskApi.c (`rleFrString`, `rleToString`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_RUNS = 200_000
MAX_SIDE_PX = 65_535
Interval = tuple[int, int]
"""First row, and the row after the last."""


class BadRle(ValueError):
    """The runs are no valid mask."""


def polygons(rle: Any) -> list[list[float]]:
    """The mask of `{"size": [height, width], "counts": ...}` as disjoint polygons x0, y0, x1, y1, ...

    counts: a list of runs, or COCO's text. Raises BadRle for an invalid mask of that size.
    """
    runs_of_mask = runs(rle)
    return list(_outlines(runs_of_mask, rle["size"][0]))


def runs(rle: Any) -> list[int]:
    """The runs of `{"size": [height, width], "counts": ...}`. Raises BadRle unless they fill that size."""
    if not isinstance(rle, dict) or not _is_size(rle.get("size")):
        raise BadRle(f"a mask's size is [height, width] of 1 to {MAX_SIDE_PX:,} pixels")
    height, width = rle["size"]
    runs_of_mask = _runs(rle.get("counts"))
    if sum(runs_of_mask) != height * width:
        raise BadRle(f"the runs of a mask have {sum(runs_of_mask):,} pixels, and its size is {width:,} x {height:,}")
    return runs_of_mask


def text(runs: Sequence[int]) -> str:
    """Runs as COCO's text, which `polygons` and pycocotools read."""
    characters: list[str] = []
    for at, run in enumerate(runs):
        value = run - (runs[at - 2] if at > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            is_last = value == (-1 if bits & 16 else 0)
            characters.append(chr(48 + bits + (0 if is_last else 32)))
            if is_last:
                break
    return "".join(characters)


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(side) is int and 1 <= side <= MAX_SIDE_PX for side in size)


def _runs(counts: Any) -> list[int]:
    runs = _decoded(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not 1 <= len(runs) <= MAX_RUNS or any(type(run) is not int or run < 0 for run in runs):
        raise BadRle(f"a mask has 1 to {MAX_RUNS:,} runs, whole numbers that are not below 0, or COCO's text of them")
    return runs


def _decoded(text: str) -> list[int]:
    """The runs of COCO's text: five bits per character, the sixth for "more"; from the fourth on, differences."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30 or len(runs) > MAX_RUNS:
            raise BadRle("the text of a mask's runs has a character that COCO does not write, or is too long")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise BadRle("the text of a mask's runs ends inside of one")
    return runs


@dataclass
class _Piece:
    """A part of a mask with one interval per column, from `left` on. upper, lower: its edges as (column, row)."""

    left: int
    last: Interval
    upper: list[tuple[int, int]] = field(init=False)
    lower: list[tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.upper, self.lower = [(self.left, self.last[0])], [(self.left, self.last[1])]

    def go_on(self, column: int, interval: Interval) -> None:
        """Extend the piece by the next column's interval."""
        for ends, previous, current in zip((self.upper, self.lower), self.last, interval, strict=True):
            if previous != current:
                ends += [(column, previous), (column, current)]
        self.last = interval

    def outline(self, right: int) -> list[float]:
        """The polygon of all columns up to `right`."""
        upper = [*self.upper, (right, self.last[0])]
        lower = [*self.lower, (right, self.last[1])]
        return [float(value) for point in (*upper, *reversed(lower)) for value in point]


def _outlines(runs: Sequence[int], height: int) -> Iterator[list[float]]:
    """Outlines of pieces; a piece continues to the next column if its interval touches exactly one there, and vice versa."""
    pieces: list[_Piece] = []
    end = 0
    for column, next_column, intervals in _columns(runs, height):
        touching = _touching([piece.last for piece in pieces], intervals) if column == end else []
        count_of_piece, count_of_interval = (
            Counter(piece_number for piece_number, _ in touching),
            Counter(interval_number for _, interval_number in touching),
        )
        piece_of_interval = {
            interval_number: piece_number
            for piece_number, interval_number in touching
            if count_of_piece[piece_number] == count_of_interval[interval_number] == 1
        }
        continued = set(piece_of_interval.values())
        yield from (piece.outline(end) for at, piece in enumerate(pieces) if at not in continued)
        current = [
            pieces[piece_of_interval[at]] if at in piece_of_interval else _Piece(column, piece_number)
            for at, piece_number in enumerate(intervals)
        ]
        for piece, interval in zip(current, intervals, strict=True):
            piece.go_on(column, interval)
        pieces, end = current, next_column
    yield from (piece.outline(end) for piece in pieces)


def _touching(left: Sequence[Interval], right: Sequence[Interval]) -> list[tuple[int, int]]:
    """Pairs of indices of intervals of two columns that share a row. Both are in order."""
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if max(left[i][0], right[j][0]) < min(left[i][1], right[j][1]):
            pairs.append((i, j))
        if left[i][1] <= right[j][1]:
            i += 1
        else:
            j += 1
    return pairs


def _columns(runs: Sequence[int], height: int) -> Iterator[tuple[int, int, list[Interval]]]:
    """The columns that the mask touches, with its disjoint intervals in them.

    Yields first column, column after the last, intervals: a run over many whole columns is one item.
    """
    column, intervals, at = 0, list[Interval](), 0
    for number, run in enumerate(runs):
        end = at + run
        while number % 2 and at < end:
            if at // height != column:
                if intervals:
                    yield column, column + 1, intervals
                column, intervals = at // height, []
            if at % height == 0 and (whole := (end - at) // height):
                yield column, column + whole, [(0, height)]
                at += whole * height
                column = at // height
                continue
            top, bottom = at % height, min(end - column * height, height)
            if intervals and intervals[-1][1] == top:
                top = intervals.pop()[0]
            intervals.append((top, bottom))
            at = column * height + bottom
        at = end
    if intervals:
        yield column, column + 1, intervals
