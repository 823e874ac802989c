"""What a place holds of a person, and the stores that places are read from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.framework.declaration import Declaration
from pipeline_assets.framework.personal import MARKS, Mark, marks
from pipeline_assets.framework.schemas import Rejected
from resources.assembly import resolve
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore
from resources.settings import Settings

VERSION = "//"
"""Between a key and its version in the name of a holding: no legal key has it."""


@dataclass(frozen=True)
class Holding:
    """A part of what a place holds. name: of a table, file or object.

    count: rows, lines, files or values of the person. rows, read: what a copy for the person has of it; neither for what is
    a copy of other places, or packed for machines. mentions: rows of other people that name the person.
    """

    name: str
    count: int
    rows: pl.DataFrame | None = None
    read: Callable[[], bytes] | None = None
    mentions: int = 0


@dataclass(frozen=True)
class Stores:
    """A project's stores. settings: of running servers; declared: the catalog's assets by name."""

    settings: Settings
    declared: Mapping[str, Declaration] = field(repr=False)
    resources: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, settings: Settings, declared: Mapping[str, Declaration]) -> "Stores":
        """The stores of these settings."""
        return cls(settings, declared, resolve(settings))

    @property
    def home(self) -> Path:
        """The folder of state on this machine."""
        return self.settings.home

    @property
    def database(self) -> Database:
        """The application's database."""
        return self.resources["database"]

    @property
    def lake(self) -> Lake:
        """The tables."""
        return self.resources["lake"]

    @cached_property
    def lake_files(self) -> ObjectStore:
        """The lake's files."""
        return self.resources["lake_bucket"].store

    @cached_property
    def uploads(self) -> ObjectStore:
        """The uploads."""
        return self.resources["uploads"].store

    @cached_property
    def objects(self) -> ObjectStore:
        """Contents by their sha256."""
        return self.resources["objects"].store

    def marks_of(self, table: str) -> Mapping[str, Mark]:
        """What is declared of a table's columns; of a table that no asset declares any more, by their names."""
        if table.endswith("_rejected"):
            return {**MARKS, **marks(Rejected)}
        return {**MARKS, **marks(self.declared[table].schema)} if table in self.declared else MARKS
