"""SIMULATED feedback of users: reports, hides and corrections of photos that they view. Pure.

Of the views, shares of REPORTS, HIDES and CORRECTIONS are followed by feedback within minutes. Corrections are of photos
whose subject is known (the sample's), and name it with probability RIGHT. One user corrects ZEAL of all they view, mostly
wrongly.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline_assets.sample.population import SECOND_US, UTC_TIME, Ints

REPORTS, HIDES, CORRECTIONS = 0.002, 0.004, 0.008
RIGHT = 0.9
ZEAL = 0.5
ONLY_NOT = 0.3
"""Of corrections, the share that says only what the photo is not."""
_KINDS = ("correct", "hide", "report")
_ROWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "user_id": pl.Int64,
    "photo_id": pl.Int64,
    "kind": pl.String,
    "at": UTC_TIME,
    "label": pl.String,
    "not_label": pl.String,
}


def feedback(views: pl.DataFrame, subjects: Sequence[str | None], users: Ints, rng: np.random.Generator) -> pl.DataFrame:
    """Feedback after views: user_id, photo_id, kind, at, label, not_label.

    views: user_id, photo_id, at. subjects: of photos 1, 2, ..., where it is known. users: all ids.
    """
    draw = rng.random(views.height)
    delay_us = rng.integers(5 * SECOND_US, 300 * SECOND_US, views.height)
    is_zealous = views["user_id"].to_numpy() == rng.choice(users)
    known = sorted({subject for subject in subjects if subject is not None})
    can_correct = np.array([subject is not None and len(known) > 1 for subject in subjects], bool)
    is_correction = can_correct[views["photo_id"].to_numpy() - 1] & (draw < np.where(is_zealous, ZEAL, CORRECTIONS))
    is_hide = ~is_correction & (draw > 1 - HIDES)
    is_report = ~is_correction & ~is_hide & (draw > 1 - HIDES - REPORTS)
    rows = []
    for kind, chosen in zip(_KINDS, (is_correction, is_hide, is_report), strict=True):
        for number in np.flatnonzero(chosen).tolist():
            user_id, photo_id, at = views.row(number)
            subject = subjects[photo_id - 1]
            said = _said(subject, known, not is_zealous[number], rng) if kind == "correct" and subject else (None, None)
            rows.append((user_id, photo_id, kind, at, *said, delay_us[number]))
    found = pl.DataFrame(rows, schema={**_ROWS, "delay_us": pl.Int64}, orient="row")
    return found.with_columns(pl.col("at") + pl.duration(microseconds="delay_us")).drop("delay_us")


def _said(subject: str, known: list[str], is_honest: bool, rng: np.random.Generator) -> tuple[str | None, str | None]:
    """What a correction says that the photo shows, and what it does not."""
    others = [name for name in known if name != subject]
    other = others[int(rng.integers(len(others)))]
    is_right, says_only_not = rng.random() < (RIGHT if is_honest else 1 - RIGHT), rng.random() < ONLY_NOT
    shown, not_shown = (subject, other) if is_right else (other, subject)
    return (None, not_shown) if says_only_not else (shown, None)
