"""Every column that may hold something of a person is declared, wherever it is: a new one fails here until it is."""

import dataframely as dy
import polars as pl
import pytest

from pipeline_assets.catalog import DECLARED
from pipeline_assets.framework.personal import MARKS, Mark, is_shown, mark_of, marks, may_name_a_person, personal, undeclared
from pipeline_assets.framework.reporting import preview
from pipeline_assets.framework.schemas import Rejected

SCHEMAS = {name: asset.schema for name, asset in DECLARED.items()} | {"rejected": Rejected}


class Planted(dy.Schema):
    """A table that somebody adds without a thought of people."""

    day = dy.Date()
    nickname = dy.String()
    friend_id = dy.Int64()
    faces = dy.List(dy.String())
    likes = dy.Int64()
    user_id = dy.Int64()


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_that_may_name_a_person_is_declared(table: str) -> None:
    assert list(undeclared(SCHEMAS[table])) == []


def test_a_planted_column_is_found() -> None:
    assert list(undeclared(Planted)) == ["nickname", "friend_id", "faces"]


def test_a_column_is_declared_by_its_metadata_before_its_name() -> None:
    class Own(dy.Schema):
        nickname = dy.String(metadata=personal("text", content=True))
        key = dy.String(metadata=personal(None))
        code = dy.String(metadata={"volatile": True, **personal(None)})

    assert list(undeclared(Own)) == []
    assert marks(Own)["nickname"] == Mark("text", content=True)
    assert marks(Own)["key"].personal is None
    assert is_shown("key", Own.columns()["key"])
    assert not is_shown("nickname", Own.columns()["nickname"])


def test_each_declared_name_is_that_of_a_column() -> None:
    names = {name for schema in SCHEMAS.values() for name in schema.columns()}
    assert set(MARKS) - names == set()


def test_what_is_described_as_personal_is_declared_so() -> None:
    for schema in SCHEMAS.values():
        for name, column in schema.columns().items():
            if "personal" in (column.description or ""):
                mark = mark_of(name, column)
                assert mark is not None
                assert mark.personal


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_preview_has_no_personal_column(table: str) -> None:
    schema = SCHEMAS[table]
    head = preview(schema.create_empty().clear(1), schema).splitlines()[0] if schema.columns() else ""
    personal_ones = {name for name, mark in marks(schema).items() if mark.personal}
    assert personal_ones.isdisjoint(cell.strip() for cell in head.split("|"))


def test_ids_and_texts_must_be_declared_and_numbers_need_not() -> None:
    assert may_name_a_person("remark", pl.String())
    assert may_name_a_person("values", pl.List(pl.String()))
    assert may_name_a_person("album_id", pl.Int64())
    assert not may_name_a_person("likes", pl.Int64())
    assert not may_name_a_person("at", pl.Datetime("us", "UTC"))
