"""Quiet places of a clip, where a pause cuts no sound, found by energy alone."""

import math

import numpy as np
import numpy.typing as npt

from pipeline_assets.variants.speech.sound import Clip

WINDOW_S = 0.02
HOP_S = 0.005
QUIET_SHARE = 0.1
"""So many of a clip's windows, the quietest, are quiet places."""


def quiet_places(clip: Clip, margin_s: float) -> npt.NDArray[np.int64]:
    """The middle samples of quiet windows, in order, none within the margin of an end; none if the clip is too short.

    Where there are gaps between segments, places are in the gaps: a pause then splits no word.
    """
    middle, energy = _windows(clip, round(margin_s * clip.rate_hz))
    if not len(middle):
        return middle
    is_between = _between_segments(clip, middle)
    if is_between.any():
        energy, middle = energy[is_between], middle[is_between]
    count = max(1, int(len(energy) * QUIET_SHARE))
    return middle[energy <= np.partition(energy, count - 1)[count - 1]]


def choose(places: npt.NDArray[np.int64], count: int, distance: int, random: np.random.Generator) -> list[int]:
    """Up to `count` places in order, no two nearer than `distance`, sampled uniformly."""
    places_chosen: list[int] = []
    for place in random.permutation(places):
        if all(abs(place - other) >= distance for other in places_chosen):
            places_chosen.append(int(place))
        if len(places_chosen) == count:
            break
    return sorted(places_chosen)


def noise_floor(clip: Clip) -> float:
    """Root mean square of the clip's quietest window: the background noise. 0 for a clip shorter than a window."""
    middle, energy = _windows(clip, 0)
    return math.sqrt(int(energy.min()) / 2**30 / _samples(WINDOW_S, clip)) if len(middle) else 0.0


def _windows(clip: Clip, margin: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The middle of each window outside the margins, and its energy in whole numbers: full scale for a sample is 2^30."""
    window, hop = _samples(WINDOW_S, clip), _samples(HOP_S, clip)
    starts = np.arange(margin, len(clip.samples) - margin - window + 1, hop)
    squares = np.square(clip.samples, dtype=np.float64).mean(axis=1)
    # Sums of whole numbers are exact: no window is affected by earlier ones.
    sums = np.concatenate([[0], np.cumsum(np.rint(np.minimum(squares, 1) * 2**30).astype(np.int64))])
    return starts + window // 2, sums[starts + window] - sums[starts]


def _samples(seconds: float, clip: Clip) -> int:
    return max(1, round(seconds * clip.rate_hz))


def _between_segments(clip: Clip, middle: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    free = np.ones(len(middle), np.bool_)
    for segment in clip.segments:
        free &= (middle <= segment["start_s"] * clip.rate_hz) | (middle >= segment["end_s"] * clip.rate_hz)
    return free
