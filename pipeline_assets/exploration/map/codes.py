"""Codes of vectors: a byte a component, and bounds of what they leave out. Pure.

A vector is turned by a basis whose first axes are main directions of the data. Its head is the components along these,
its rest all others; each is rounded to whole numbers of [-127, 127] times a scale of its own. By Cauchy and Schwarz the
similarity of a query exceeds the product of its code with a vector's by at most the product of lengths that codes leave
out. So heads alone rule out most vectors, and both parts nearly all others, while a quarter of the bytes is read.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.map.neighbours import Floats, Items, main_directions, slack

HEAD = 192
"""Components of a head: those of more are read for all vectors, those of fewer rule out fewer."""
LENGTHS = 5
SCALE_HEAD, SCALE_REST, LOST_HEAD, LOST, REST = range(LENGTHS)
"""Scales of the codes; length of what the head's code loses, and of what both lose; length of the rest."""
UNUSABLE = np.float32(-1e30)
"""What a vector without a direction loses: its bounds are below all others."""
ORTHONORMAL = 1e-5
"""How far a basis may be from orthonormal: what this adds to a bound stays far below its slack."""
PASS = 8_192
"""Vectors whose bounds are computed at a time."""
DENSE = 0.3
"""The share of vectors from which on reading all in order costs less than some here and there."""
Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Codes:
    """heads: (n, head) and rests: (n, rest), int8; lengths: (n, LENGTHS) float32."""

    heads: Bytes
    rests: Bytes
    lengths: Floats

    def is_usable(self, rows: Items) -> npt.NDArray[np.bool_]:
        """Which of these vectors have a direction."""
        return np.asarray(self.lengths[rows, REST] >= 0)


class Query:
    """Bounds of the similarity of one unit vector (d,) to coded ones."""

    def __init__(self, vector: Floats, basis: Floats) -> None:
        turned = _turned(vector[None, :], basis)
        self.code = _coded(turned)
        [lengths] = self.code.lengths
        self.scales = lengths[SCALE_HEAD], lengths[SCALE_REST]
        head, rest = self.code.heads[0] * np.float64(self.scales[0]), self.code.rests[0] * np.float64(self.scales[1])
        room = slack(len(vector))
        self.by_head, self.least_by_head = np.zeros(LENGTHS, np.float32), np.float32(lengths[LOST_HEAD] + room)
        self.by_head[[LOST_HEAD, REST]] = np.linalg.norm(head), np.linalg.norm(turned[0, HEAD:])
        self.by_both, self.least_by_both = np.zeros(LENGTHS, np.float32), np.float32(lengths[LOST] + room)
        self.by_both[LOST] = np.hypot(np.linalg.norm(head), np.linalg.norm(rest))

    def bounds(self, codes: Codes) -> Floats:
        """(n,): what the similarity of each vector can't exceed, by heads. That of an unusable one is below all."""
        answer = np.empty(len(codes.heads), np.float32)
        for start in range(0, len(answer), PASS):
            some = slice(start, start + PASS)
            lengths = codes.lengths[some]
            answer[some] = self._head(codes.heads[some], lengths) + lengths @ self.by_head + self.least_by_head
        return answer

    def closer_bounds(self, codes: Codes, rows: Items) -> Floats:
        """(m,): closer bounds of these rows, which ascend, by heads and rests."""
        answer = np.empty(len(rows), np.float32)
        ends = np.searchsorted(rows, range(PASS, len(codes.heads) + PASS, PASS))
        for number, (first, last) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            base = number * PASS
            places = rows[first:last] - base
            is_dense = len(places) > DENSE * PASS
            some = slice(base, base + PASS) if is_dense else rows[first:last]
            if len(places):
                bounds = self._both(codes.heads[some], codes.rests[some], codes.lengths[some])
                answer[first:last] = bounds[places] if is_dense else bounds
        return answer

    def _head(self, heads: Bytes, lengths: Floats) -> Floats:
        return _products(self.code.heads, heads) * (lengths[:, SCALE_HEAD] * self.scales[0])

    def _both(self, heads: Bytes, rests: Bytes, lengths: Floats) -> Floats:
        product = self._head(heads, lengths)
        product += _products(self.code.rests, rests) * (lengths[:, SCALE_REST] * self.scales[1])
        return product + lengths @ self.by_both + self.least_by_both


def widths(width: int) -> tuple[int, int]:
    """Components of head and rest of vectors of this width; zeros are added to short vectors."""
    return HEAD, max(width - HEAD, 1)


def main_basis(vectors: Floats, width: int) -> Floats:
    """An orthonormal basis (d, d) whose first HEAD axes span main directions of the vectors (n, d), mixed evenly.

    Any basis would do; this one leaves the least to the rests. Mixed axes are of one size, so that bytes lose little.
    """
    some = vectors.astype(np.float64)
    axes = main_directions(some.T @ some, HEAD)
    axes = axes[:, (axes * axes).sum(axis=0) > 0.5]  # fewer vectors than directions leave nothing of some
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((axes.shape[1],) * 2))
    whole, _ = np.linalg.qr(axes, mode="complete")
    basis = np.hstack([axes @ turn, whole[:, axes.shape[1] :]]).astype(np.float32)
    if np.linalg.norm(basis.astype(np.float64) @ basis.T.astype(np.float64) - np.eye(width)) > ORTHONORMAL:
        basis = np.eye(width, dtype=np.float32)
    return np.ascontiguousarray(basis)


def coded(vectors: Floats, basis: Floats) -> Codes:
    """The codes of unit vectors (n, d), and of vectors of zeros, which are unusable."""
    return _coded(_turned(vectors, basis))


def _turned(vectors: Floats, basis: Floats) -> npt.NDArray[np.float64]:
    """(n, head + rest): components in the basis, and zeros."""
    answer = np.zeros((len(vectors), sum(widths(basis.shape[0]))))
    answer[:, : basis.shape[1]] = vectors.astype(np.float64) @ basis.astype(np.float64)
    return answer


def _coded(turned: npt.NDArray[np.float64]) -> Codes:
    head, rest = np.split(turned, [HEAD], axis=1)
    (heads, scale_head, lost_head), (rests, scale_rest, lost_rest) = _rounded(head), _rounded(rest)
    lost = np.stack([lost_head, np.hypot(lost_head, lost_rest), np.linalg.norm(rest, axis=1)], axis=1)
    lost[~turned.any(axis=1)] = UNUSABLE
    lengths = np.column_stack([scale_head, scale_rest, lost])
    return Codes(heads, rests, lengths.astype(np.float32))


def _rounded(part: npt.NDArray[np.float64]) -> tuple[Bytes, npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Codes, their scale, and the length of what they lose."""
    scale = (np.abs(part).max(axis=1, initial=0) / 127).astype(np.float32)
    codes = np.rint(part / np.where(scale > 0, scale, 1)[:, None]).clip(-127, 127).astype(np.int8)
    return codes, scale, np.linalg.norm(part - codes * scale[:, None].astype(np.float64), axis=1)


def _products(query: Bytes, codes: Bytes) -> Floats:
    """(n,): dot products of a code (1, w) with others, exact but for rounding to float32."""
    if not len(codes):
        return np.zeros(0, np.float32)
    import numkong  # a search alone needs it, and no definition

    return np.asarray(numkong.cdist(query, np.ascontiguousarray(codes), "dot"))[0].astype(np.float32)
