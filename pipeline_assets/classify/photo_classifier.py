"""An entry of the registry. The entries are in `registry.py`; `pipeline.py` runs them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import dataframely as dy
import polars as pl

if TYPE_CHECKING:
    from pipeline_assets.classify.decode import Decoded

Compute = Callable[["Decoded"], Sequence[object]]
"""Maps one photo to the values of a classifier's own columns, in order. It runs on several threads at once."""


@dataclass(frozen=True)
class PhotoClassifier:
    """A classifier of single photos, with everything specific to it.

    table: the asset that has its rows. kind: the name of its results, also in rows; change it if a photo's values change.
    schema: `day`, `sha256`, a column for the kind, then the classifier's own columns. load: reads weights and imports heavy
    modules; called once per pass in which a photo lacks a result. about: the text on the table's page.
    """

    table: str
    kind: str
    schema: type[dy.Schema]
    load: Callable[[], Compute]
    about: str

    @cached_property
    def stored_schema(self) -> pl.Schema:
        """The columns of a stored result: all except the day, since the same content may arrive on several days."""
        return self.schema.create_empty().drop("day").schema

    @property
    def computed_columns(self) -> list[str]:
        """The columns that `load()` computes."""
        return self.stored_schema.names()[2:]

    def rows(self, computed: Sequence[tuple[str, Sequence[object]]]) -> pl.DataFrame:
        """The stored results of photos. computed: their sha256 and values."""
        return pl.DataFrame(
            [(sha256, self.kind, *values) for sha256, values in computed], schema=self.stored_schema, orient="row"
        )
