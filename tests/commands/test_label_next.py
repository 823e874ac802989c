"""`darkroom label next`: its campaign, and the embeddings of its items."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.commands.label import next as command
from pipeline_assets.errors import BadCampaign
from pipeline_assets.labeling.campaigns import queue
from resources.lake.lake import Lake

DAY = date(2026, 2, 1)
GOOD = "question: Which?\nkind: class\nclasses: [cat, dog]\n"


@pytest.fixture
def lake(tmp_path):
    (tmp_path / "lake").mkdir()
    found = Lake(url=(tmp_path / "lake").as_uri())
    schema = PhotoClasses.create_empty().schema
    rows = [
        {**dict.fromkeys(schema), "day": DAY, "sha256": f"{number:064x}", "embedding": [1.0, float(number)]}
        for number in range(30)
    ]
    found.replace("photo_classes", [DAY], pl.DataFrame(rows, schema=schema))
    return found


def found_of(count, answered=0):
    keys = [f"{number:064x}" for number in range(count)]
    items = {"task_key": keys, "votes": [1] * answered + [0] * (count - answered), "is_done": [False] * count}
    frame = pl.DataFrame({name: items.get(name, [None] * count) for name in queue.ITEMS}, schema=queue.ITEMS)
    return frame.with_columns(day=pl.lit(DAY), sha256="task_key")


@pytest.mark.parametrize("answered", [0, 1, 30])
def test_a_queue_has_diverse_items_before_and_after_the_first_answer(lake, answered):
    found = found_of(30, answered)
    chosen = queue.next_items(found, 20, queue.Mix(), 0, command._embed(lake, found))
    assert chosen.height == 20
    assert "diverse" in chosen["reason"].to_list() or answered == 30


def test_embeddings_come_in_the_order_of_the_keys_and_are_missing_where_there_are_none(lake):
    found = found_of(31)
    embed = command._embed(lake, found)
    vectors = embed([f"{number:064x}" for number in (2, 30, 1)])
    np.testing.assert_array_equal(vectors, np.array([[1, 2], [np.nan, np.nan], [1, 1]], np.float32))
    assert embed([]).shape == (0, 1)


def test_a_faulty_file_of_another_campaign_does_not_matter_and_ones_own_does(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text("question: [")
    assert command._asked(tmp_path, "good").name == "good"
    with pytest.raises(BadCampaign, match=r"bad\.yaml is no YAML"):
        command._asked(tmp_path, "bad")
    with pytest.raises(BadCampaign, match=r"no none\.yaml. It has good"):
        command._asked(tmp_path, "none")
