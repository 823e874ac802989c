"""A table pinned in part: the rows for which a condition holds, their files, and what reads such a pin."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_assets.errors import BadSelection, PinRefused, ReferenceUnreadable
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.versioning.checkout.commands import _rules
from pipeline_assets.versioning.checkout.selection import select
from pipeline_assets.versioning.diff.tables import TableDiff, Version
from pipeline_assets.versioning.pin.history import changes
from pipeline_assets.versioning.pin.reference import MAX_CONDITION, Reference
from pipeline_assets.versioning.pin.table_pins import pin_table
from pipeline_assets.versioning.pin.verification import verify
from tests.versioning.test_table_pins import DAYS, LABEL, House


@pytest.fixture
def house(tmp_path: Path, postgres_url: str) -> House:
    house = House(tmp_path, postgres_url)
    house.upload(DAYS[1], b"photo 1", b"photo 2", b"photo 3")
    return house


def pinned_where(house: House, where: str) -> Reference:
    return pin_table(LABEL, "photo_styles", None, None, house.of, where=where)


def hashes(house: House) -> list[str]:
    return house.opened(house.pin()).rows().collect()["sha256"].sort().to_list()


def test_a_selection_pins_its_rows_and_their_files_beside_whole_tables(house: House) -> None:
    whole, some = house.pin(), hashes(house)[:2]
    pinned = pinned_where(house, f"sha256 in ('{some[0]}', '{some[1]}')")
    assert pinned.tables == whole.tables
    assert (whole.rows, pinned.rows, pinned.manifest.files) == (4, 2, 2)
    assert pinned.identity != whole.identity
    opened = house.opened(pinned)
    assert opened.rows().collect()["sha256"].sort().to_list() == some
    assert opened.rows("photo_styles").collect().height == 4
    assert verify(opened, _rules(), quick=False, tell=lambda line: None).ok
    assert changes(whole, pinned)[0] == "selected rows -2"


def test_a_checkout_takes_the_selection_and_narrows_it(house: House) -> None:
    some = hashes(house)[:2]
    opened = house.opened(pinned_where(house, f"sha256 <= '{some[1]}'"))
    assert select(opened).rows.collect()["sha256"].sort().to_list() == some
    narrowed = select(opened, f"sha256 >= '{some[1]}'")
    assert narrowed.rows.collect()["sha256"].to_list() == some[1:]
    assert narrowed.files.height == 1
    assert select(opened).made_from != select(house.opened(house.pin())).made_from


def test_a_pin_of_all_rows_is_written_as_before_and_a_selection_as_format_2(house: House) -> None:
    whole, pinned = house.pin(), pinned_where(house, "day is not null")
    assert "selection" not in json.loads(whole.dumps())
    assert json.loads(whole.dumps())["darkroom"] == 1
    assert json.loads(pinned.dumps())["darkroom"] == 2
    assert Reference.loads(pinned.dumps(), "it") == pinned
    fields = json.loads(pinned.dumps())
    for changed in (fields | {"darkroom": 1}, fields | {"selection": None}, fields | {"asset": None}):
        with pytest.raises(ReferenceUnreadable):
            Reference.loads(json.dumps(changed), "it")


def test_another_condition_than_the_pinned_one_is_a_fault(house: House) -> None:
    some = hashes(house)[:2]
    pinned = pinned_where(house, f"sha256 <= '{some[1]}'")
    other = pinned.model_copy(update={"selection": pinned.selection.model_copy(update={"where": "day is not null"})})
    verdict = verify(house.opened(other), _rules(), quick=True, tell=lambda line: None)
    assert [fault.what for fault in verdict.faults] == ["the condition"]
    broken = pinned.model_copy(update={"selection": pinned.selection.model_copy(update={"where": "no_column > 1"})})
    with pytest.raises(BadSelection):
        house.opened(broken).rows()


def test_two_selections_of_the_same_days_are_compared_by_their_rows(house: House) -> None:
    some = hashes(house)
    sides = [
        Version(house.opened(pinned_where(house, f"sha256 {sign} '{some[1]}'")), "photo_styles") for sign in ("<=", ">=")
    ]
    rows = TableDiff(DECLARATIONS["photo_styles"], *sides).rows
    assert (rows.before, rows.after, rows.added, rows.removed, rows.changed) == (2, 3, 2, 1, 0)
    whole = Version(house.opened(house.pin()), "photo_styles")
    assert TableDiff(DECLARATIONS["photo_styles"], whole, sides[0]).rows.removed == 2
    same = TableDiff(DECLARATIONS["photo_styles"], sides[0], replace(sides[0])).rows
    assert (same.added, same.removed, same.days) == (0, 0, [])


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("day is null", PinRefused),
        ("", PinRefused),
        ("x" * (MAX_CONDITION + 1), PinRefused),
        ("no_column > 1", BadSelection),
        ("(select 1)", BadSelection),
    ],
    ids=["no row", "empty", "long", "column", "subquery"],
)
def test_a_condition_that_selects_nothing_or_is_none_is_refused(house: House, where: str, error: type) -> None:
    with pytest.raises(error):
        pinned_where(house, where)
