"""Finds photos with relatives in another split, which must not be trained on. Pure functions of frames.

Relatives are those of `variants.families`: equal bytes, and photos that look the same.
"""

import hashlib
from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.variants import originals
from pipeline_assets.variants.families import leaking

PHOTOS = "image/"


def leaking_photos(raw_uploads: pl.LazyFrame, days: Sequence[date]) -> pl.DataFrame:
    """(day, sha256) of the photos of these days whose family is in two splits, by their owners.

    raw_uploads: of all days.
    """
    all_photos = originals.owned(raw_uploads, PHOTOS)
    if all_photos["split"].n_unique() < 2:
        return leaking(originals.uploads(RawUploads.create_empty().lazy(), PHOTOS), all_photos)
    of_days = raw_uploads.filter(pl.col("day").is_in(pl.Series(list(days), dtype=pl.Date).implode()))
    return leaking(originals.uploads(of_days, PHOTOS), all_photos)


def source_texts(leaking: pl.DataFrame, days: Sequence[date]) -> dict[date, str]:
    """The leaking photos of each day as text, which ends the text that its rows are computed from; empty without any."""
    by_day = leaking.group_by("day", maintain_order=True).agg(pl.col("sha256").str.join(",") + "\n")
    digests = {day: hashlib.sha256(hashes.encode()).hexdigest()[:32] for day, hashes in by_day.iter_rows()}
    return {day: f" {digests[day]}" if day in digests else "" for day in days}
