"""What a profile may show: nothing that names a person, also of columns that are yet to come."""

import re

import dataframely as dy
import polars as pl
import pytest

from pipeline_assets.catalog import DECLARED
from pipeline_assets.exploration.profiles.columns import EMBEDDINGS, SHOWN, TABLES, Column, decided, kind_of, of_table
from pipeline_assets.framework.digest import code_digest

TEXT_OF_PEOPLE = re.compile(
    r"(^|_)(ids?|users?|owner|annotator|names?|title|key|location|place|address|camera|phone|e?mail|json|details?|text|raw|"
    r"sha256|p?hash|of|event|number|bucket|slice|label)(_|$)"
)
NUMBER_OF_PEOPLE = re.compile(r"(^|_)(ids?|lat|lon|lng|latitude|longitude|gps|altitude|phone|ip|birth|born|age|zip)(_|$)")
OF_MODELS = {"styles_id", "model_id", "look_model_id"}
"""Ids of models and definitions, not of people."""
PROFILED = [(table, column) for table in TABLES for column in of_table(table, DECLARED[table].schema)]


def test_every_profiled_table_is_declared_and_has_columns() -> None:
    assert {table: DECLARED[table].schema for table in TABLES} == TABLES
    assert {table for table, _ in PROFILED} == set(TABLES)
    assert {(table, column.name) for table, column in PROFILED} >= EMBEDDINGS


@pytest.mark.parametrize(("table", "column"), PROFILED, ids=[f"{table}.{column.name}" for table, column in PROFILED])
def test_no_column_that_looks_personal_shows_its_values(table: str, column: Column) -> None:
    """A new column that this finds is personal: take it out of SHOWN, or describe it as such. Or add it to OF_MODELS."""
    if column.kind == "category" and column.dtype == pl.String and column.name not in OF_MODELS:
        assert not TEXT_OF_PEOPLE.search(column.name), f"{table}.{column.name} is shown"
    if column.kind in ("number", "time"):
        assert not NUMBER_OF_PEOPLE.search(column.name), f"{table}.{column.name} is shown as a {column.kind}"


def test_every_column_that_says_it_is_personal_is_private() -> None:
    said = {
        (table, name)
        for table in TABLES
        for name, column in DECLARED[table].schema.columns().items()
        if "personal" in (column.description or "")
    }
    assert said == {(table, column.name) for table, column in PROFILED if column.kind == "private"}
    assert {name for _, name in said} == {"latitude_deg", "longitude_deg", "camera"}


def test_to_call_a_column_of_another_table_personal_makes_all_profiles_stale() -> None:
    """Else old profiles would go on showing its values."""

    class Uploads(TABLES["raw_uploads"]):  # type: ignore[misc]
        width_px = dy.Int32(nullable=True, description="personal: never leaves this table")

    code = list(DECLARED["table_profiles"].code)
    assert decided() in code
    marked = decided(TABLES | {"raw_uploads": Uploads})
    assert code_digest(code) == DECLARED["table_profiles"].code_version
    assert code_digest([marked if part == decided() else part for part in code]) != code_digest(code)


@pytest.mark.parametrize(
    "column",
    [dy.Int64(metadata={"bulk": True}), dy.Int64(metadata={"label": True}), dy.String(), dy.Int64(description="personal")],
)
def test_every_choice_about_a_column_is_in_the_text_that_decides(column: dy.Column) -> None:
    def of(column: dy.Column) -> str:
        return decided({"a_table": type("OneColumn", (dy.Schema,), {"width": column})})

    assert of(column) != of(dy.Int64())
    assert of(dy.Int64(description="pixels")) == of(dy.Int64())


def test_every_shown_column_is_one_that_there_is() -> None:
    texts = {column.name for _, column in PROFILED if column.dtype == pl.String}
    assert texts >= SHOWN


@pytest.mark.parametrize(
    ("name", "column", "kind"),
    [
        ("nickname", dy.String(), "text"),
        ("photo_id", dy.Int64(), "identifier"),
        ("width_px", dy.Int32(), "number"),
        ("born_at", dy.Datetime(description="personal: never leaves this table"), "private"),
        ("is_new", dy.Bool(), "category"),
        ("posted_at", dy.Datetime(time_zone="UTC"), "time"),
        ("tags", dy.List(dy.String()), "list"),
        ("box", dy.Struct({"x": dy.Int64()}), "private"),
    ],
)
def test_an_unknown_column_shows_as_little_as_its_type_allows(name: str, column: dy.Column, kind: str) -> None:
    assert kind_of("some_table", name, column) == kind
