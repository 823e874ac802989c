"""What a copy for one person has: nothing of others, however their data lie beside this person's, and all of their own."""

import json
from typing import Any

import polars as pl
import pytest

from pipeline_assets.framework.personal import MARKS, marks
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.labeling.schemas import AnnotatorQuality, LabelVotes
from pipeline_assets.privacy.person import Person, found_in, rows_of, without_others
from pipeline_assets.privacy.stored import own_lines

OWN, OTHER = 700_000_001, 700_000_002
KEY, FOREIGN_KEY = f"uploads/2026-02-01/{OWN}/a b.jpg", f"uploads/2026-02-01/{OTHER}/my cat.jpg"
PSEUDONYM, FOREIGN_PSEUDONYM = f"user-{1:016x}", f"user-{2:016x}"
PERSON = Person(
    OWN,
    names=frozenset({"Benjamin Smith"}),
    photo_ids=frozenset({41, 8_000_000_000_000_000_001}),
    keys=frozenset({KEY, ""}),
    hashes=frozenset({"a" * 64}),
    texts=frozenset({"Untitled photo", "Barcelona, Spain"}),
    pseudonyms=frozenset({PSEUDONYM}),
)


def lines(*texts: Any) -> list[str]:
    """The lines of a file that are this person's, as they may see them."""
    data = "\n".join(text if isinstance(text, str) else json.dumps(text) for text in texts)
    return own_lines(data.encode(), PERSON)["line"].to_list()


@pytest.mark.parametrize("word", ["Untitled photo", "Barcelona, Spain", "Benjamin Smith"])
def test_a_line_of_another_person_with_the_same_name_title_or_place_is_not_copied(word: str) -> None:
    line = json.dumps({"user_id": OTHER, "raw": word})
    assert lines(line) == []
    assert found_in(pl.Series([line]), PERSON).to_list() == [True]  # counted where texts are only counted


def test_a_row_of_another_person_with_the_same_title_is_a_mention() -> None:
    row = {"source": FOREIGN_KEY, "reason": "r", "detail": "d", "raw": json.dumps({"title": "Untitled photo"})}
    found = rows_of(pl.DataFrame([row]), marks(Rejected), PERSON)
    assert (found.own.height, found.mentions) == (0, 1)


def test_an_empty_key_in_the_database_makes_nobodys_line_the_persons() -> None:
    assert lines({"user_id": OTHER}, "some line") == []


@pytest.mark.parametrize(
    "text",
    [
        f'{{"user_id": {OTHER}, "photo_id": 41, "kind": broken',
        json.dumps({"extra": {"user_id": OTHER}, "user_id": OWN, "near": FOREIGN_KEY}),
        json.dumps({"photo_id": 41, "raw": json.dumps({"user_id": OTHER, "key": FOREIGN_KEY})}),
        json.dumps({"user_id": OWN, "confirmed_by": FOREIGN_PSEUDONYM, "by": "annotator-0123456789ab"}),
    ],
)
def test_ids_keys_and_pseudonyms_of_others_are_left_out_of_a_line_however_it_is_written(text: str) -> None:
    (line,) = lines(text)
    assert all(name not in line for name in (str(OTHER), "my cat", FOREIGN_PSEUDONYM, "annotator-"))
    if not text.endswith("broken"):
        json.loads(line)


def test_own_ids_keys_and_pseudonyms_stay_in_a_line() -> None:
    line = json.dumps({"user_id": OWN, "key": KEY, "by": PSEUDONYM, "note": 'a "quoted" word'})
    assert lines(line) == [line]


def test_ids_and_keys_of_others_are_left_out_of_texts_in_rows() -> None:
    raw = json.dumps({"user_id": OTHER, "photo_id": 41, "key": FOREIGN_KEY})
    row = {"source": "events/2026-02-01/a.jsonl:3", "reason": "r", "detail": f"of {FOREIGN_KEY}", "raw": raw}
    own = rows_of(pl.DataFrame([row]), marks(Rejected), PERSON).own
    shown = without_others(own, marks(Rejected), PERSON).row(0, named=True)
    assert json.loads(shown["raw"])["photo_id"] == 41
    assert str(OTHER) not in str(shown)


def test_the_content_that_was_mixed_into_a_persons_variant_is_left_out() -> None:
    rows = pl.DataFrame({"key": [KEY], "parent_sha256": ["a" * 64], "other_parent_sha256": ["b" * 64]})
    assert without_others(rows, MARKS, PERSON).row(0) == (KEY, "a" * 64, None)


@pytest.mark.parametrize(
    ("line", "is_own"),
    [
        ({"photo_id": 8_000_000_000_000_000_001}, True),
        ({"photo_id": 8_000_000_000_000_000_002}, False),
        ({"photo_id": 410}, False),
        ({"before": {"photo_id": 7}, "photo_id": 41}, True),
        ({"photo_id": 99_999_999_999_999_999_999}, False),
    ],
)
def test_a_photo_is_found_by_its_whole_id_in_each_place_of_a_line(line: dict[str, Any], is_own: bool) -> None:
    assert bool(lines({**line, "user_id": OTHER})) is is_own


def test_answers_that_the_person_gave_to_questions_about_others_are_theirs_and_the_questions_are_not() -> None:
    row = {"key": FOREIGN_KEY, "task_key": "c" * 64, "sha256": "b" * 64, "annotator": PSEUDONYM, "answer_json": '"cat"'}
    own = rows_of(pl.DataFrame([row]), marks(LabelVotes), PERSON).own
    shown = without_others(own, marks(LabelVotes), PERSON).row(0, named=True)
    assert shown == {"key": None, "task_key": None, "sha256": None, "annotator": PSEUDONYM, "answer_json": '"cat"'}
    quality = pl.DataFrame({"annotator": [PSEUDONYM, FOREIGN_PSEUDONYM], "tier": ["blocked", "qc"]})
    assert rows_of(quality, marks(AnnotatorQuality), PERSON).own["tier"].to_list() == ["blocked"]
