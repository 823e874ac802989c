"""How good answers turned out: predictions beside the labels of their photos."""

import polars as pl

from pipeline_assets.serving.log.schemas import ServedQuality
from pipeline_assets.training.model.scores import r_squared

_POSTING = ("user_id", "sha256")


def quality(asks: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Rows of `ServedQuality`. asks: of `ServingLog`. labels: user_id, sha256, posted_at, popularity (null until mature).

    An ask meets the posting of the same photo by the same user that is nearest in time. Of several asks about one posting
    and model the last counts.
    """
    rows = [
        _of_model(day, sha256, group, is_shadow=is_shadow)
        for is_shadow, answers in ((False, _answers(asks)), (True, _shadows(asks)))
        for (day, sha256), group in _with_labels(answers, labels).group_by("day", "model_sha256", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=ServedQuality.create_empty().schema, orient="row").sort(ServedQuality.primary_key())


def _answers(asks: pl.DataFrame) -> pl.DataFrame:
    return asks.select("day", *_POSTING, "asked_at", "as_of", "popularity", "low", "high", "model_sha256")


def _shadows(asks: pl.DataFrame) -> pl.DataFrame:
    none = pl.lit(None, pl.Float64)
    columns = {"popularity": "shadow_popularity", "model_sha256": "shadow_sha256"}
    return asks.select("day", *_POSTING, "asked_at", "as_of", **columns).with_columns(low=none, high=none)


def _with_labels(answers: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Answers with predictions of known users, one a posting and model, with `label`."""
    predictions = answers.drop_nulls(["popularity", "model_sha256", *_POSTING])
    known = labels.select(*_POSTING, "posted_at", label="popularity")
    met = predictions.join(known, on=_POSTING, how="left").with_columns(
        far=(pl.col("posted_at") - pl.col("as_of")).dt.total_microseconds().abs()
    )
    key = ["day", "model_sha256", *_POSTING]
    nearest = met.sort("far", nulls_last=True).unique([*key, "asked_at"], keep="first", maintain_order=True)
    return nearest.sort("asked_at").unique(key, keep="last", maintain_order=True).sort(key)


def _of_model(day: object, sha256: object, answers: pl.DataFrame, *, is_shadow: bool) -> dict[str, object]:
    met = answers.filter(pl.col("label").is_not_null())
    errors = met["popularity"].cast(pl.Float64) - met["label"].cast(pl.Float64)
    inside = met.filter(pl.col("low").is_not_null()).select(pl.col("label").is_between("low", "high")).to_series()
    return {
        "day": day,
        "model_sha256": sha256,
        "is_shadow": is_shadow,
        "asks": answers.height,
        "labelled": met.height,
        "r2": r_squared(met["label"].to_numpy(), met["popularity"].to_numpy()) if met.height > 1 else None,
        "bias": errors.mean(),
        "mean_absolute_error": errors.abs().mean(),
        "slope": _slope(met["popularity"].cast(pl.Float64), met["label"].cast(pl.Float64)),
        "coverage": inside.mean(),
    }


def _slope(predictions: pl.Series, labels: pl.Series) -> float | None:
    """Of the least-squares line of labels over predictions; None if the predictions are fewer than 2, or all equal."""
    centred = predictions - predictions.mean()
    spread = float((centred * centred).sum())
    return float((centred * labels).sum()) / spread if len(predictions) > 1 and spread > 0 else None
