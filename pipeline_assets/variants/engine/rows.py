"""Stored results as rows of a table of variants, and failures as rejected rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dataframely as dy
import polars as pl

from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.variants.engine.result_writer import result_key, result_kind
from pipeline_assets.variants.kinds import Kind
from pipeline_assets.variants.planning import Planned
from pipeline_assets.variants.schemas import Variants
from resources.objects.results import KEY, Results

_STORED_COLUMNS = ("content_sha256", "size_bytes", "object_sha256", "object_offset", "media_type", "encoding", "labels_json")
_OWN_OBJECT = {"object_sha256": pl.col("content_sha256"), "object_offset": pl.lit(0, pl.Int64)}
"""Values for rows that were stored before variants shared objects."""


@dataclass(frozen=True)
class Failure:
    """A variant that could not be made, with its reason."""

    planned: Planned
    reason: str
    detail: str


def rows_of(
    kind: Kind, schema: type[dy.Schema], planned: Sequence[Planned], results: Results, by_key: Mapping[str, Planned]
) -> pl.DataFrame:
    """The table's rows: every planned variant with a result."""
    names = [name for name in schema.column_names() if name in _STORED_COLUMNS or name not in Variants.column_names()]
    types = schema.create_empty().schema
    empty = pl.DataFrame(schema={KEY: pl.String, **{name: types[name] for name in names}})
    parts = [empty]
    for part in results.parts(result_kind(kind), list(by_key)):
        parts.append(part.select(pl.col(KEY), *(_column(part, name, types[name]) for name in names)))
    plans = pl.DataFrame(
        [
            {
                KEY: result_key(kind, variant),
                "day": variant.day,
                "variant_id": variant.task.variant_id,
                "parent_sha256": variant.task.parents[0],
                "other_parent_sha256": variant.task.parents[1] if len(variant.task.parents) > 1 else None,
                "source": variant.source,
                "kind": kind.name,
                "recipe": variant.recipe,
                "recipe_json": variant.task.recipe.json,
                "number": variant.number,
                "seed": variant.task.seed,
                "split": variant.split,
                "is_synthetic": True,
            }
            for variant in planned
        ],
        schema={KEY: pl.String, **{name: dtype for name, dtype in types.items() if name not in names}},
    )
    return plans.join(pl.concat(parts), on=KEY).select(schema.column_names()).sort("day", "source", "number", "variant_id")


def _column(part: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    if name in part.columns:
        return pl.col(name).cast(dtype)
    return _OWN_OBJECT.get(name, pl.lit(None)).cast(dtype).alias(name)


def rejected_of(kind: Kind, failures: Sequence[Failure], planned: Sequence[Planned]) -> pl.DataFrame:
    """Each failed variant, on each of its planned days."""
    reasons = {result_key(kind, failure.planned): failure for failure in failures}
    rows = [
        {
            "day": variant.day,
            "source": f"{variant.source} #{variant.number}",
            "reason": failure.reason,
            "detail": failure.detail,
            "raw": variant.task.recipe.json[:2000],
        }
        for variant in planned
        if (failure := reasons.get(result_key(kind, variant)))
    ]
    return pl.DataFrame(rows, schema=Rejected.create_empty().schema)
