"""Which rows of `label_consensus` say of what class an upload is. Expressions of Polars."""

import polars as pl

ARE_CLASSES = (
    (pl.col("kind") == "class")
    & (pl.col("target") == "upload")
    & pl.col("answer_json").is_not_null()
    & ~pl.col("needs_adjudication")
)
"""Answers that people have agreed on; those that they must decide yet are none."""
CHOICE = pl.col("answer_json").str.json_path_match("$.choice")
