"""Tasks of a part of the photos."""

from datetime import date

import polars as pl
import pytest

from pipeline_assets.errors import BadSelection
from pipeline_assets.labeling.exchange.studio import of_photos

DAY = date(2026, 1, 1)


def tasks(**columns: object) -> pl.DataFrame:
    rows = {"day": [DAY] * 4, "sha256": ["c", "a", "b", "z"], "target": "upload", "is_gold": [False, False, False, True]}
    return pl.DataFrame(rows | columns)


PHOTOS = pl.LazyFrame(
    {
        "day": [DAY, DAY, DAY, date(2026, 1, 2)],
        "sha256": ["a", "a", "c", "b"],
        "photo_id": [1, 2, 3, 4],
        "likes": [5, 9, 9, 9],
    }
)


def test_tasks_about_photos_that_match_are_sent_with_all_known_answers_in_their_order() -> None:
    assert of_photos(tasks(), PHOTOS, "likes > 7")["sha256"].to_list() == ["c", "a", "z"]
    assert of_photos(tasks(), PHOTOS, "photo_id in (1, 2)")["sha256"].to_list() == ["a", "z"]
    assert of_photos(tasks(), PHOTOS, "likes > 100")["sha256"].to_list() == ["z"]


@pytest.mark.parametrize("where", ["nothing > 3", "likes", ""])
def test_a_wrong_condition_says_so(where: str) -> None:
    with pytest.raises(BadSelection):
        of_photos(tasks(), PHOTOS, where)


def test_titles_are_not_chosen_by_photos() -> None:
    with pytest.raises(BadSelection, match="asks about something else"):
        of_photos(tasks(target="title"), PHOTOS, "likes > 7")
