"""Rows of `pseudo_labels`, of the labels of campaigns and the embeddings of a window of days. Pure functions of frames."""

import hashlib
import json
from datetime import date, timedelta

import numpy as np
import polars as pl

from pipeline_assets.exploration import embeddings
from pipeline_assets.exploration.answers import ARE_CLASSES, CHOICE
from pipeline_assets.exploration.learning import pseudo
from pipeline_assets.exploration.learning.few_labels import Floats, Ints, unit
from pipeline_assets.exploration.learning.pseudo import Items
from pipeline_assets.exploration.learning.schemas import PseudoLabels
from pipeline_assets.exploration.suspects.neighbours import COPIES, directions
from pipeline_assets.exploration.suspects.neighbours import families as joined
from pipeline_assets.runtime.one_thread import one_thread
from pipeline_assets.variants import families

WINDOW_DAYS = 30
MIN_LABELS = 20
MAX_ITEMS = 1_000
"""Labelled photos, and others, of a campaign: those with the smallest sha256, which is as good as random."""
DIMENSIONS = 64
DECIMALS = 4
"""Of probabilities: another processor's sums change hardly a row."""
SEED = 0
_QUESTION = ["campaign", "version"]


def agreed(label_consensus: pl.LazyFrame) -> pl.DataFrame:
    """Classes of photos that need no adjudication, of all versions: day, campaign, version, sha256, choice."""
    choices = label_consensus.filter(ARE_CLASSES).select("day", *_QUESTION, "sha256", choice=CHOICE)
    return choices.drop_nulls("choice").collect()


def night_rows(
    night: date,
    answers: pl.DataFrame,
    photo_classes: pl.LazyFrame,
    raw_uploads: pl.LazyFrame,
    *,
    code: str,
    may_be_taken: bool,
) -> pl.DataFrame:
    """Rows of `PseudoLabels` of one night, by the newest version of each question that is answered in its window.

    answers: `agreed`; the frames may have more days than the window. A photo whose answers differ has no label.
    """
    window = pl.col("day").is_between(night - timedelta(days=WINDOW_DAYS - 1), night)
    photos, uploads = photo_classes.filter(window), raw_uploads.filter(window)
    rows: list[pl.DataFrame] = [PseudoLabels.create_empty()]
    for asked in answers.filter(window).partition_by("campaign"):
        known = _labels(asked)
        newest = photos.select("day", "model_id").sort("day", "model_id").tail(1).collect()
        if not _are_enough(known) or newest.is_empty():
            continue
        model_id = newest["model_id"][0]
        labelled, others = _taking_part(photos.filter(model_id=model_id), uploads, asked["sha256"], known)
        if _are_enough(labelled) and others.height:
            identity = json.dumps([code, model_id, labelled.select("sha256", "choice").rows()])
            rows.append(
                _said(labelled, others, uploads).with_columns(
                    day=pl.lit(night),
                    campaign=pl.lit(asked["campaign"][0]),
                    version=pl.lit(asked["version"].max(), pl.Int64),
                    target=pl.lit("upload"),
                    teacher=pl.lit(hashlib.sha256(identity.encode()).hexdigest()),
                    is_taken=pl.lit(may_be_taken) & (pl.col("gain_low") > 0).fill_null(False),
                )
            )
    columns = PseudoLabels.column_names()
    return pl.concat(part.select(columns) for part in rows).sort(PseudoLabels.primary_key())


def _labels(asked: pl.DataFrame) -> pl.DataFrame:
    """sha256 and choice of the newest version, where all answers are the same."""
    newest = asked.filter(pl.col("version") == pl.col("version").max())
    return (
        newest.group_by("sha256").agg(pl.col("choice").unique()).filter(pl.col("choice").list.len() == 1).explode("choice")
    )


def _are_enough(labels: pl.DataFrame) -> bool:
    return labels.height >= MIN_LABELS and labels["choice"].n_unique() > 1


def _taking_part(
    photo_classes: pl.LazyFrame, raw_uploads: pl.LazyFrame, answered: pl.Series, known: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labelled photos (with their choice), and those without an answer: photo_day, sha256, embedding; MAX_ITEMS of each.

    Photos that are still there, of their newest day, with an embedding that has a direction and the width that most have.
    """
    is_there = photo_classes.join(raw_uploads.select("day", "sha256"), on=["day", "sha256"], how="semi")
    newest = is_there.group_by("sha256").agg(pl.col("day").max()).sort("sha256").collect()
    is_known, is_answered = (pl.col("sha256").is_in(names.implode()) for names in (known["sha256"], answered))
    chosen = pl.concat([newest.filter(is_known).head(MAX_ITEMS), newest.filter(~is_answered).head(MAX_ITEMS)])
    # Named photos: the reader decodes no other's embedding.
    named = photo_classes.filter(
        pl.col("day").is_in(chosen["day"].unique().implode()), pl.col("sha256").is_in(chosen["sha256"].implode())
    )
    rows = (
        named.select("day", "sha256", "embedding")
        .filter(embeddings.HAVE_DIRECTION)
        .collect()
        .join(chosen, on=["day", "sha256"], how="semi")
        .rename({"day": "photo_day"})
        .sort("sha256")
    )
    rows = rows.filter(pl.col("embedding").list.len() == rows["embedding"].list.len().mode().min())
    return rows.join(known, on="sha256", maintain_order="left"), rows.filter(~is_answered)


@one_thread()
def _said(labelled: pl.DataFrame, others: pl.DataFrame, raw_uploads: pl.LazyFrame) -> pl.DataFrame:
    """photo_day, sha256 of the others that a label reaches, with label, probability, threshold, labels and the gain."""
    classes = labelled["choice"].unique().sort().to_list()
    numbers = np.array([classes.index(choice) for choice in labelled["choice"]], np.int64)
    inputs = _components(unit(np.concatenate([_array(labelled), _array(others)])))
    relatives = _families(labelled, raw_uploads)
    known, asked = Items(inputs[: labelled.height]), Items(inputs[labelled.height :])
    found = pseudo.spread_labels(known, numbers, asked, len(classes))
    gain = pseudo.measured_gain(known, numbers, relatives, asked, len(classes), SEED)
    return others.select(
        "photo_day",
        "sha256",
        label=pl.Series([classes[number] for number in found.labels], dtype=pl.String),
        probability=pl.Series(found.probabilities, dtype=pl.Float64).clip(0, 1).round(DECIMALS),
        threshold=pl.lit(0.0),
        labels=pl.lit(labelled.height, pl.Int64),
        gain=pl.lit(gain.difference if gain else None, pl.Float64),
        gain_low=pl.lit(gain.low if gain else None, pl.Float64),
        gain_high=pl.lit(gain.high if gain else None, pl.Float64),
    ).filter(pl.Series(found.is_sure))


def _array(rows: pl.DataFrame) -> Floats:
    """(N, D), of rows of `_taking_part`."""
    return rows["embedding"].explode().to_numpy().astype(np.float32).reshape(rows.height, -1)


def _families(labelled: pl.DataFrame, raw_uploads: pl.LazyFrame) -> Ints:
    """The family of each labelled photo: those that look alike, by hash or embedding, are held out together."""
    hashes = raw_uploads.select("sha256", "phash").join(labelled.lazy().select("sha256"), on="sha256", how="semi")
    of_one = hashes.group_by("sha256").agg(pl.col("phash").max()).collect()
    items = labelled.select("sha256").join(of_one, on="sha256", how="left")
    found = labelled.select("sha256").join(families.families(items), on="sha256", how="left", maintain_order="left")
    by_hash = np.unique(found["family"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    return joined(directions(_array(labelled)), by_hash, COPIES)


def _components(rows: Floats) -> Floats:
    """Rows (N, D) less their mean, on their first principal directions (N, P), by a randomized range finder.

    Source: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4.
    """
    centered = rows - rows.mean(axis=0)
    start = np.random.default_rng(SEED).standard_normal((len(rows), min(DIMENSIONS, *rows.shape)), np.float32)
    basis = np.linalg.qr(centered.T @ start)[0]
    for _ in range(2):
        basis = np.linalg.qr(centered.T @ (centered @ basis))[0]
    return np.asarray(centered @ basis, np.float32)
