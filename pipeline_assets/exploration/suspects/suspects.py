"""The suspects among the labels of one version of a question. Pure functions of frames."""

import numpy as np
import polars as pl

from pipeline_assets.exploration.slices.predicates import quoted
from pipeline_assets.exploration.suspects import confident, outliers
from pipeline_assets.exploration.suspects.items import embedded
from pipeline_assets.exploration.suspects.neighbours import COPIES, Floats, Ints, directions, families, nearest
from pipeline_assets.exploration.suspects.probabilities import SCALES, probabilities
from pipeline_assets.exploration.suspects.schemas import LabelSuspects
from pipeline_assets.variants.families import families as look_alikes

MIN_FAMILIES = 5
"""Of a class: with fewer, nobody can judge its items, and they judge nobody."""
FOUND = {name: dtype for name, dtype in LabelSuspects.create_empty().schema.items() if name != "day"}
_JUDGED = {"probability_given": pl.Float64(), "suggested": pl.String(), "probability_suggested": pl.Float64()}


def suspects(items: pl.DataFrame) -> pl.DataFrame:
    """Columns FOUND of `LabelSuspects`, what to ask first at the top. Settled items are none.

    items: `items.with_facts`, of one version of a question, each content once.
    """
    alike = look_alikes(items).select("sha256", family=pl.col("family").rank("dense").cast(pl.Int64))
    items = items.join(alike, on="sha256", how="left", maintain_order="left")
    known, vectors = embedded(items)
    family = known["family"].to_numpy()
    unit = directions(vectors)
    family = families(unit, family, COPIES)
    judged = known.select("task_key").with_columns(
        family=pl.Series(family, dtype=pl.Int64) + items.height, **_errors(known, unit, family), **_outliers(unit, family)
    )
    rows = items.drop("embedding").join(judged, on="task_key", how="left", suffix="_judged", maintain_order="left")
    rows = rows.with_columns(family=pl.coalesce("family_judged", "family"))
    return _rows(rows.join(_disagreements(rows), on="task_key", how="left", maintain_order="left"))


def _errors(known: pl.DataFrame, unit: Floats, family: Ints) -> dict[str, pl.Series]:
    """is_error, margin, suggested and probabilities, by item; null for items of classes that are too rare to judge."""
    of_class = pl.DataFrame({"given": known["given"], "family": family}).group_by("given").agg(pl.col("family").n_unique())
    classes = of_class.filter(pl.col("family") >= MIN_FAMILIES)["given"].sort()
    at = np.flatnonzero(known["given"].is_in(classes.implode()).to_numpy())
    judged = pl.DataFrame(schema={"is_error": pl.Boolean(), "margin": pl.Float64(), **_JUDGED})
    if len(classes) > 1:
        of_classes = known[at]
        given = of_classes["given"].cast(pl.Enum(classes)).to_physical().to_numpy().astype(np.int64)
        near = nearest(unit[at], family[at], max(SCALES))
        probability = probabilities(given, len(classes), near, _proposed(of_classes, classes))
        best = probability.argmax(axis=1)
        judged = pl.DataFrame(
            {
                "is_error": confident.label_errors(probability, given),
                "margin": confident.margins(probability, given),
                "probability_given": probability[np.arange(len(at)), given],
                "suggested": classes[best],
                "probability_suggested": probability[np.arange(len(at)), best],
            },
            schema=judged.schema,
        )
    else:
        at = at[:0]
    whole = pl.DataFrame({"at": np.arange(known.height)}).join(judged.with_columns(at=pl.Series(at)), on="at", how="left")
    return whole.sort("at").drop("at").to_dict()


def _proposed(known: pl.DataFrame, classes: pl.Series) -> Floats | None:
    """The probability of the class that the campaign's model proposes: (N, C), zero where it proposes nothing."""
    number = known["proposal"].cast(pl.Enum(classes), strict=False).to_physical()
    has = (number.is_not_null() & known["proposal_probability"].is_not_null()).to_numpy()
    if not has.any():
        return None
    proposed = np.zeros((known.height, len(classes)), np.float32)
    proposed[np.flatnonzero(has), number.to_numpy()[has].astype(np.int64)] = known["proposal_probability"].to_numpy()[has]
    return proposed


def _outliers(unit: Floats, family: Ints) -> dict[str, pl.Series]:
    """distance, and deviations: how far above the usual it is."""
    distance = outliers.distances(nearest(unit, family, outliers.COUNT))
    usual = float(np.median(distance[np.isfinite(distance)])) if np.isfinite(distance).any() else 1.0
    return {
        "times_as_far": pl.Series(np.where(np.isfinite(distance), distance / usual, 1.0)),
        "deviations": pl.Series(outliers.deviations(distance)),
    }


def _disagreements(rows: pl.DataFrame) -> pl.DataFrame:
    """task_key of items whose family has other labels, with the family's label, and the share that has their own.

    The label of a family is that of its settled items, else the most frequent one; where two are, the others'.
    """
    counts = rows.group_by("family", "given").agg(labels=pl.len(), settled=pl.col("is_settled").sum())
    ordered = counts.sort("family", "settled", "labels", "given", descending=[False, True, True, False])
    first = ordered.group_by("family", maintain_order=True).agg(
        most=pl.col("given").first(),
        second=pl.col("given").get(1, null_on_oob=True),
        is_tie=(pl.col("settled").first() == pl.col("settled").get(1, null_on_oob=True))
        & (pl.col("labels").first() == pl.col("labels").get(1, null_on_oob=True)),
        members=pl.col("labels").sum(),
    )
    found = rows.join(first.drop_nulls("second"), on="family").join(counts, on=["family", "given"])
    return found.filter((pl.col("given") != pl.col("most")) | pl.col("is_tie")).select(
        "task_key",
        "members",
        "labels",
        family_label=pl.when(pl.col("given") != pl.col("most")).then("most").otherwise("second"),
        own_share=pl.col("labels") / pl.col("members"),
    )


def _rows(rows: pl.DataFrame) -> pl.DataFrame:
    is_copy, is_error = pl.col("family_label").is_not_null(), pl.col("is_error").fill_null(False)
    is_far = pl.col("deviations").fill_null(0.0) >= outliers.FAR
    percent = (pl.col("probability_given") * 100).round(0).cast(pl.Int64).cast(pl.String)
    why = {
        "label_error": pl.format("Photos like it speak for {}, and for its label with {} %.", "suggested", percent),
        "duplicates_disagree": pl.format(
            "Of {} copies of this photo, {} have another label.", "members", pl.col("members") - pl.col("labels")
        ),
        "out_of_distribution": pl.format(
            "Its nearest photos are {} times as far as usual.", pl.col("times_as_far").round(1).cast(pl.String)
        ),
    }
    holds = {"label_error": is_error, "duplicates_disagree": is_copy, "out_of_distribution": is_far}
    score = (
        pl.when(is_error)
        .then("margin")
        .when(is_copy)
        .then(1 - pl.col("own_share"))
        .otherwise(1 - outliers.FAR / pl.col("deviations") / 2)
    )
    return (
        rows.filter(~pl.col("is_settled"), pl.any_horizontal(*holds.values()))
        .with_columns(
            kind=pl.coalesce(pl.when(held).then(pl.lit(kind)) for kind, held in holds.items()),
            score=score.clip(0, 1),
            why=pl.concat_str(
                [pl.when(held).then(why[kind]) for kind, held in holds.items()], separator=" ", ignore_nulls=True
            ),
            suggested=pl.when(is_error).then("suggested").when(is_copy).then("family_label"),
            probability_suggested=pl.when(is_error).then("probability_suggested"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in FOUND.items())
        .sort("score", "task_key", descending=[True, False])
    )


def where(found: pl.DataFrame, characters: int = 2_000) -> str:
    """The SQL condition that selects the first of these items, as a campaign's `where` and `--where` take it.

    characters: the most that a campaign's `where` may have. Empty without items.
    """
    keys, text = list[str](), ""
    for key in found.sort("score", "task_key", descending=[True, False])["key"]:
        keys.append(quoted(key))
        longer = f"key in ({', '.join(keys)})"
        if len(longer) > characters:
            break
        text = longer
    return text
