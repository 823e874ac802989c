"""Variants as rows to train on: the photo's row with another picture, in the train split alone, no more than the share."""

from datetime import date

import polars as pl
from polars.testing import assert_frame_equal

from pipeline_assets.training.schemas import TrainingTable
from pipeline_assets.variants.engine.training_rows import choose, rows_of

DAY = date(2026, 3, 1)
A, B, C = "a" * 64, "b" * 64, "c" * 64


def training(*rows: tuple[int, str, str, float | None]) -> pl.DataFrame:
    """photo_id, sha256, split, popularity; the rest is as the schema's empty frame has it, filled with ones."""
    schema = TrainingTable.create_empty().schema
    given = [
        {"day": DAY, "photo_id": photo, "sha256": sha256, "split": split, "popularity": popularity, "embedding": [0.0, 0.0]}
        for photo, sha256, split, popularity in rows
    ]
    frame = pl.DataFrame(given, schema_overrides={"popularity": pl.Float32})
    others = {name: kind for name, kind in schema.items() if name not in frame.columns}
    return frame.with_columns(pl.lit(1).cast(kind, strict=False).alias(name) for name, kind in others.items()).select(
        pl.col(name).cast(kind) for name, kind in schema.items()
    )


def variants(*rows: tuple[str, str, str | None, str]) -> pl.DataFrame:
    """The variant's letter, its parent, its other parent, its split."""
    return pl.DataFrame(
        [
            {
                "day": DAY,
                "variant_id": letter * 64,
                "parent_sha256": parent,
                "other_parent_sha256": other,
                "split": split,
                "content_sha256": letter.upper() * 64,
                "object_sha256": letter.upper() * 64,
                "object_offset": 0,
                "size_bytes": 1,
            }
            for letter, parent, other, split in rows
        ],
        schema_overrides={"other_parent_sha256": pl.String},
    )


def test_only_labelled_photos_of_the_train_split_have_rows_and_mixtures_none() -> None:
    photos = training((1, A, "train", 2.0), (2, B, "test", 2.0), (3, C, "train", None))
    made = variants(("1", A, None, "train"), ("2", B, None, "test"), ("3", C, None, "train"), ("4", A, C, "train"))
    assert choose(made, photos.lazy(), 10)["variant_id"].to_list() == ["1" * 64]


def test_a_share_bounds_them_by_day_and_the_choice_is_by_identity() -> None:
    photos = training((1, A, "train", 2.0), (2, B, "train", 2.0), (3, C, "train", 1.0))
    made = variants(*((letter, parent, None, "train") for letter, parent in zip("984321", (A, B, C, A, B, C), strict=True)))
    assert [name[0] for name in choose(made, photos.lazy(), 0.5)["variant_id"]] == ["1", "2"]
    assert choose(made, photos.lazy(), 0.0).is_empty()
    assert_frame_equal(choose(made, photos.lazy(), 0.5), choose(made.reverse(), photos.lazy(), 0.5))


def test_a_row_is_the_photos_with_what_is_seen_in_the_variant() -> None:
    photos = training((7, A, "train", 2.5))
    chosen = choose(variants(("1", A, None, "train")), photos.lazy(), 1)
    content = chosen["sha256"][0]
    classes = pl.DataFrame(
        {
            "sha256": [content],
            "model_id": ["m"],
            "embedding": [[0.5, 0.25]],
            "top5_label": [["cat", "dog"]],
            "top5_probability": [[0.75, 0.25]],
        }
    )
    styles = pl.DataFrame(
        {"sha256": [content]}
        | {name: [2.0] for name in ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")}
    )
    row = rows_of(chosen, photos.lazy(), classes, styles).row(0, named=True)
    assert (row["popularity"], row["user_id"], row["split"], row["parent_sha256"]) == (2.5, 1, "train", A)
    assert (row["sha256"], row["top_class"], row["embedding"], row["brightness"]) == (content, "cat", [0.5, 0.25], 2.0)
    assert row["photo_id"] < 0


def test_a_photo_that_was_posted_twice_has_its_variant_twice_under_numbers_of_their_own() -> None:
    photos = training((7, A, "train", 2.5), (8, A, "train", 1.5))
    chosen = choose(variants(("1", A, None, "train")), photos.lazy(), 1)
    content = chosen["sha256"][0]
    classes = pl.DataFrame(
        {
            "sha256": [content],
            "model_id": ["m"],
            "embedding": [[0.5]],
            "top5_label": [["cat"]],
            "top5_probability": [[0.75]],
        }
    )
    styles = pl.DataFrame(
        {"sha256": [content]}
        | {name: [2.0] for name in ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")}
    )
    rows = rows_of(chosen, photos.lazy(), classes, styles)
    assert rows["photo_id"].n_unique() == 2
    assert sorted(rows["popularity"]) == [1.5, 2.5]
