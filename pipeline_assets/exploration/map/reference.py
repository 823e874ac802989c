"""The fixed reference of a map: which photos are its landmarks, and where all others are placed by them. Pure.

A photo is placed by the landmarks nearest to it, so that a new one moves no other. Photos count in the order of the days on
which they arrived: a new reference is chosen on the first day by which this one does not fit, so that the answer is a
function of the photos alone, however often and in which steps it is computed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.map.neighbours import NONE, Floats, Items, Lists, nearest

LANDMARKS = 1_000
PLACED_BY = 5
"""Landmarks that place a photo."""
TOGETHER = 0.1
"""How far from the nearest landmark the others may be on the map, which is 2 wide."""
SHARPNESS = 4
"""How much nearer landmarks count more: weights fall with this power of the squared distance."""
USUAL = 0.05
"""A photo does not fit if it is less similar to its nearest landmark than this share of the landmarks to theirs."""
MISFITS, MIN_JUDGED, LATELY = 0.25, 50, 28
"""A reference is replaced when more than this share of at least so many photos of the last so many days do not fit ..."""
GROWTH = 4
"""... or when there are so many times the photos that it was chosen from, and it could have more landmarks."""
CODE = "1"
"""Part of each version: raise it when layouts, clusters or the choice of landmarks change."""


@dataclass(frozen=True)
class Photos:
    """Distinct photos of one model: sha256 ascending, the vectors' rows (n,), the day of arrival (n,), days since 1970."""

    model_id: str
    sha256: Sequence[str]
    rows: Items
    arrived: Items
    vectors: Any


@dataclass(frozen=True)
class Chosen:
    """Landmarks by number, ascending, chosen from the photos that arrived until a day. reason: why then."""

    landmarks: Items
    until: int
    reason: str


@dataclass(frozen=True)
class Placed:
    """Where each photo is: places (n, 2), clusters (n,), fit (n,): the similarity to the nearest landmark but itself."""

    places: Floats
    clusters: npt.NDArray[np.int32]
    fit: Floats

    @classmethod
    def nowhere(cls, photos: int) -> "Placed":
        """Of photos that are not placed yet: all NaN, and in no cluster."""
        nan = np.full((photos, 3), np.nan, np.float32)
        return cls(nan[:, :2].copy(), np.full(photos, -1, np.int32), nan[:, 2].copy())


def version_of(photos: Photos, landmarks: Items) -> str:
    """The name of a map, 16 hex digits: of the model and the landmarks."""
    names = [photos.sha256[int(number)] for number in landmarks]
    return hashlib.sha256(json.dumps([CODE, photos.model_id, names]).encode()).hexdigest()[:16]


def made_of(photos: Photos, until: int) -> str:
    """A digest of the photos that arrived until a day."""
    digest = hashlib.sha256()
    for number in np.flatnonzero(photos.arrived <= until):
        digest.update(f"{photos.sha256[int(number)]} {photos.arrived[number]}\n".encode())
    return digest.hexdigest()


def usual_fit(fit: Floats) -> float:
    """The fit of landmarks that all but USUAL of them reach; -inf for fewer than two."""
    return float(np.quantile(fit, USUAL, method="lower")) if len(fit) > 1 else float("-inf")


def choose(photos: Photos, since: int | None, fits: Callable[[Items], Floats | None]) -> Chosen:
    """The reference that fits all photos, being the last of those that were chosen day after day.

    since: the day of a reference that is known to be one of them, to begin there; None: from the first day. fits: what is
    known of the fit of all photos to some landmarks, NaN where it is not; None if nothing is.
    """
    days = np.unique(photos.arrived)
    until, reason = (int(days[0]), "the first photos") if since is None else (since, "as before")
    while True:
        landmarks = np.flatnonzero(photos.arrived <= until)
        chosen_from, landmarks = len(landmarks), landmarks[:LANDMARKS]
        known = fits(landmarks)
        usual = usual_fit(nearest(photos.vectors, photos.rows, landmarks, landmarks, 1).similarity[:, 0])
        later, judged = 0, dict[int, tuple[int, int]]()
        for day in days[days > until].tolist():
            arrived = np.flatnonzero(photos.arrived == day)
            later += len(arrived)
            if chosen_from + later >= GROWTH * chosen_from and len(landmarks) < LANDMARKS:
                until, reason = day, f"{chosen_from + later:,} photos instead of {chosen_from:,}"
                break
            judged[day] = len(arrived), int((fit_of(photos, arrived, landmarks, known) < usual).sum())
            count, misfits = (sum(of_day[i] for at, of_day in judged.items() if at > day - LATELY) for i in (0, 1))
            if count >= MIN_JUDGED and misfits > MISFITS * count:
                until, reason = day, f"{misfits:,} of the last {count:,} photos are unlike all landmarks"
                break
        else:
            return Chosen(landmarks, until, reason)


def fit_of(photos: Photos, some: Items, landmarks: Items, known: Floats | None) -> Floats:
    """The similarity of some photos to their nearest landmark, as far as known, else computed."""
    fit = np.full(len(some), np.nan, np.float32) if known is None else known[some].copy()
    if len(unknown := np.flatnonzero(np.isnan(fit))):
        fit[unknown] = nearest(photos.vectors, photos.rows, some[unknown], landmarks, 1).similarity[:, 0]
    return fit


def place(
    photos: Photos, landmarks: Items, places: Floats, clusters: npt.NDArray[np.int32], known: Placed | None = None
) -> Placed:
    """Place all photos by the landmarks; those that are known to this map stay where they are.

    A photo is at the weighted mean of its nearest landmarks, of those that are together with the nearest on the map, since
    between two hills is nothing; and in the nearest one's cluster. One that does not fit is in no cluster.
    """
    placed = Placed.nowhere(len(photos.sha256)) if known is None else known
    of_landmarks = nearest(photos.vectors, photos.rows, landmarks, landmarks, 1).similarity[:, 0]
    usual = usual_fit(of_landmarks)
    placed.places[landmarks], placed.clusters[landmarks] = places, clusters
    placed.fit[landmarks] = np.where(np.isfinite(of_landmarks), of_landmarks, 1)
    if len(new := np.flatnonzero(np.isnan(placed.fit))):
        near = nearest(photos.vectors, photos.rows, new, landmarks, PLACED_BY)
        placed.fit[new] = near.similarity[:, 0]
        placed.places[new], placed.clusters[new] = _means(near, landmarks, places, clusters)
        placed.clusters[new[placed.fit[new] < usual]] = -1
    return placed


def _means(
    near: Lists, landmarks: Items, places: Floats, clusters: npt.NDArray[np.int32]
) -> tuple[Floats, npt.NDArray[np.int32]]:
    there = near.ids != NONE
    number = np.where(there, np.searchsorted(landmarks, near.ids), 0)
    squares = np.where(there, np.maximum(2 - 2 * near.similarity.astype(np.float64), 1e-6), np.inf)
    away = ((places[number].astype(np.float64) - places[number[:, :1]]) ** 2).sum(axis=2)
    weights = np.where(away <= TOGETHER**2, (squares[:, :1] / squares) ** SHARPNESS, 0)[:, :, None]
    means = (weights * places[number]).sum(axis=1) / weights.sum(axis=1)
    return means.astype(np.float32), clusters[number[:, 0]]
