"""Compares photos scored alone with the batch pipeline, to the bit, before the endpoint answers anybody."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle

import numpy as np
import polars as pl

from pipeline_assets.classify import styles
from pipeline_assets.classify.pipeline import classify_photos
from pipeline_assets.errors import ServingUnsafe
from pipeline_assets.features.history import COUNTS
from pipeline_assets.serving.endpoint.asks import Ask
from pipeline_assets.serving.endpoint.content import MEASURES, Content, PhotoReader
from pipeline_assets.serving.endpoint.scoring import ServedModel, columns_of, predict
from pipeline_assets.training.model.feature_matrix import COLUMNS, features
from pipeline_assets.training.model.feature_row import feature_row
from pipeline_assets.training.schemas import TrainingTable

PHOTOS = 5
"""More than a pass of the batch pipeline holds, so that one is full and one is padded."""
_MOMENT = datetime(2026, 1, 31, 17, 30, tzinfo=UTC)
_USERS: tuple[dict[str, float | None], ...] = (
    {"days_since_joining": 0, **dict.fromkeys(COUNTS, 0), "mean_popularity_30d": None},
    {"days_since_joining": 413, **{name: 3 + 7 * n for n, name in enumerate(COUNTS)}, "mean_popularity_30d": 1.625},
)


def check_content(reader: PhotoReader, photos: Sequence[bytes], device: str, batch_size: int) -> list[Content]:
    """The contents of these photos, each read alone. Raises ServingUnsafe if one differs from the batch pipeline's."""
    alone = [reader.read(data) for data in photos]
    batches = classify_photos(
        [(content.sha256, data) for content, data in zip(alone, photos, strict=True)],
        classifier=reader.classifier,
        further=[styles.CLASSIFIER],
        device=device,
        batch_size=batch_size,
    )
    for batch in batches:
        kind = styles.CLASSIFIER.kind
        rows = batch.classes.join(batch.further[kind], on="sha256", how="left")
        by_hash = {content.sha256: content for content in alone}
        for row in rows.iter_rows(named=True):
            if differing := _differing(by_hash[row["sha256"]], row):
                raise ServingUnsafe(
                    f"photo {row['sha256'][:12]} scored alone has another {', '.join(differing)} than in the batch pipeline "
                    "on this machine: report it with `darkroom --version`, processor and torch's version"
                )
    return alone


def _differing(content: Content, row: dict[str, object]) -> list[str]:
    embedding = np.asarray(row["embedding"], np.float32)
    labels, probabilities = row["top5_label"], row["top5_probability"]
    assert isinstance(labels, list) and isinstance(probabilities, list)  # noqa: S101  of the schema
    same = {
        "embedding": np.array_equal(embedding, content.embedding[0]),
        "class": labels[0] == content.top_class and probabilities[0] == content.top_probability,
        **{name: row[name] == content.measures[name] for name in MEASURES},
    }
    return [name for name, is_same in same.items() if not is_same]


def check_model(model: ServedModel, contents: Sequence[Content]) -> None:
    """Raise ServingUnsafe if a prediction of one photo differs from those of a frame of them, features included.

    NoModelToServe: the model reads the embeddings of another classifier.
    """
    asks = [
        Ask(number, _MOMENT, "x" * number, "here" if number % 2 else None, number or None) for number in range(len(contents))
    ]
    columns = [columns_of(*each) for each in zip(asks, contents, cycle(_USERS))]
    alone = [predict(model, content, values) for content, values in zip(contents, columns, strict=True)]
    types = TrainingTable.create_empty().schema
    frame = pl.DataFrame(columns, schema={name: types[name] for name in COLUMNS}, orient="row").with_columns(
        photo_id=pl.int_range(pl.len()),
        model_id=pl.Series([content.model_id for content in contents]),
        embedding=pl.Series([content.embedding[0].tolist() for content in contents], dtype=pl.List(pl.Float32)),
    )
    rows = np.concatenate([feature_row(values) for values in columns])
    if not np.array_equal(rows, features(frame)) or model.predictor.predict(frame)["prediction"].to_list() != alone:
        raise ServingUnsafe(
            f"the model of {model.night} predicts another popularity for a photo alone than in a frame of photos on this "
            "machine: report it with `darkroom --version`, processor and torch's version"
        )
