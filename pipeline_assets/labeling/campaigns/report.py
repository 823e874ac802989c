"""How far campaigns have come, what they cost, and who answers them: numbers of the labeling tables. Pure."""

from collections.abc import Mapping

import polars as pl

OF = ("campaign", "version")
TABLES = ("label_tasks", "label_votes", "label_consensus", "label_agreement", "annotator_quality")


def progress(tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """A row for each version of each campaign, by name and version. tables: those of TABLES that exist.

    Columns: campaign, version, tasks (of the present version only), items (with an answer), votes, accepted (sure enough),
    to_decide, alpha (Krippendorff's, for the campaign's scale: the days' mean, weighted by their items; null where it is
    not known), cost and cost_per_label (of an accepted one; null without a price), currency.
    """
    votes = tables["label_votes"].filter("counts").collect() if "label_votes" in tables else pl.DataFrame()
    tasks = (
        tables["label_tasks"].group_by(OF).agg(tasks=pl.col("task_key").n_unique()).collect()
        if "label_tasks" in tables
        else None
    )
    if votes.is_empty() or not {"label_consensus", "label_agreement"} <= set(tables):
        empty = {"items": 0, "votes": 0, "accepted": 0, "to_decide": 0, "alpha": None, "cost": None, "cost_per_label": None}
        rows = (
            pl.DataFrame(schema={"campaign": pl.String, "version": pl.Int64, "tasks": pl.UInt32}) if tasks is None else tasks
        )
        return rows.with_columns(pl.lit(value).alias(name) for name, value in empty.items()).sort(OF)
    price = pl.col("campaign_json").str.json_path_match("$.price").cast(pl.Float64)
    asked = votes.group_by(OF).agg(
        items=pl.col("task_key").n_unique(),
        votes=pl.len(),
        cost=price.sum(),
        currency=pl.col("campaign_json").str.json_path_match("$.currency").first(),
        scale=pl.col("campaign_json").str.json_path_match("$.scale").first(),
    )
    decided = (
        tables["label_consensus"]
        .group_by(OF)
        .agg(
            accepted=(~pl.col("needs_adjudication") & pl.col("answer_json").is_not_null()).sum(),
            to_decide=pl.col("needs_adjudication").sum(),
        )
        .collect()
    )
    found = asked.join(decided, on=OF, how="left").join(_alphas(tables, asked), on=OF, how="left")
    both = found if tasks is None else found.join(tasks, on=OF, how="full", coalesce=True)
    priced = pl.when(pl.col("cost") > 0).then("cost")
    return (
        both.with_columns(pl.col("items", "votes", "accepted", "to_decide").fill_null(0), cost=priced)
        .with_columns(cost_per_label=pl.when(pl.col("accepted") > 0).then(pl.col("cost") / pl.col("accepted")))
        .drop("scale")
        .sort(OF)
    )


def people(annotator_quality: pl.LazyFrame) -> pl.DataFrame:
    """The newest row of each annotator of each campaign's version; the best known come first."""
    return (
        annotator_quality.sort("day")
        .unique([*OF, "annotator"], keep="last", maintain_order=True)
        .sort(*OF, "answers", "annotator", descending=[False, False, True, False])
        .collect()
    )


def _alphas(tables: Mapping[str, pl.LazyFrame], asked: pl.DataFrame) -> pl.DataFrame:
    """Of each version: the alpha of its scale, as the mean of days weighted by items."""
    days = tables["label_agreement"].collect().join(asked.select(*OF, "scale"), on=OF)
    value = pl.coalesce(
        *(pl.when(scale=scale).then(f"alpha_{scale}") for scale in ("nominal", "ordinal", "interval")), "region_agreement"
    )
    known = days.with_columns(value=value).filter(pl.col("value").is_not_null() & (pl.col("items") > 0))
    return known.group_by(OF).agg(alpha=(pl.col("value") * pl.col("items")).sum() / pl.col("items").sum())
