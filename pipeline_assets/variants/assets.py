"""The assets of variants: a table for each kind of data. All are alike: parents, a policy, and the engine (`making.py`).

A variant is kept by its identity: a new item makes its own variants only, and a policy that is changed and changed back
makes nothing anew.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial

import polars as pl

from pipeline_assets.partitions import SAME_DAY
from pipeline_assets.table_asset import RunOfDays, Table, table_asset
from pipeline_assets.variants import checks, families, kinds, making, parents, photos, planning, recipes
from pipeline_assets.variants.schemas import PhotoVariants
from resources import ledger
from resources.database import Database
from resources.object_store import ObjectStore
from resources.objects import Objects
from resources.results import Results
from resources.variant_policy import VariantPolicy

READ_AHEAD = 16
"""Uploads fetched at once while earlier ones are worked on."""
ENGINE = (recipes, planning, making, families, kinds, parents)
"""What decides which variants there are. What a recipe's bytes are is decided by the versions in the recipe itself."""


def policy_of(kind: str) -> Callable[..., Mapping[date, str]]:
    """The policy as what comes from outside: a day is made again when its kind's changes."""

    def digest(days: Sequence[date], variant_policy: VariantPolicy) -> Mapping[date, str]:
        told = variant_policy.of(kind).model_dump_json(exclude={"share"}) + str(variant_policy.seed)
        return dict.fromkeys(days, hashlib.sha256(told.encode()).hexdigest())

    return digest


def from_uploads(uploads: ObjectStore, found: pl.DataFrame) -> making.Fetch:
    """Reads the uploads that `parents.uploads` found, by content."""
    places = {row["sha256"]: row for row in found.iter_rows(named=True)}

    def fetch(hashes: Iterator[str]) -> Iterator[tuple[str, bytes | Exception]]:
        return uploads.get_many(
            hashes,
            key=lambda sha256: places[sha256]["key"],
            version_id=lambda sha256: ledger.readable_version(places[sha256]["version_id"]),
            concurrency=READ_AHEAD,
        )

    return fetch


def from_frame(found: pl.DataFrame) -> making.Fetch:
    """The contents that a frame of parents brings along."""
    contents = dict(zip(found["sha256"], found["data"], strict=True))
    return lambda hashes: ((sha256, contents[sha256]) for sha256 in hashes)
