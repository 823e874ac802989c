"""The labeling interface of a campaign is valid XML, whatever its names are, and the tool accepts one of each kind."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.labeling.campaigns.answer import KINDS
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.services.label_config import content_of, label_config

CONTROL = {
    "class": "Choices",
    "classes": "Choices",
    "text": "TextArea",
    "ranking": "Ranker",
    "boxes": "RectangleLabels",
    "polygons": "PolygonLabels",
    "masks": "BrushLabels",
    "points": "KeyPointLabels",
    "segments": "Labels",
    "spans": "Labels",
}


def campaign_of(kind: str, **fields: object) -> Campaign:
    given = {"name": "pets", "question": "Which?", "kind": kind, "classes": [] if kind == "text" else ["cat", "dog"]}
    target = "title" if kind == "spans" else "upload"
    return Campaign.model_validate({**given, "target": target, **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_control_and_the_item_that_it_is_about(kind: str) -> None:
    root = ET.fromstring(label_config(campaign_of(kind)))  # noqa: S314  our own text
    control = root.find(CONTROL[kind])
    assert control is not None
    assert control.get("name") == "answer"
    if kind != "ranking":
        assert control.get("toName") == "item"
        assert [one.get("value") for one in control] == ([] if kind == "text" else ["cat", "dog"])
    shown = next(one for one in root if one.get("name") == "item")
    assert shown.get("value") == ("$text" if kind == "spans" else "$image")


@pytest.mark.parametrize(
    ("target", "media", "content"),
    [
        ("title", ["image/*"], "text"),
        ("upload", ["image/*"], "image"),
        ("upload", ["audio/*", "video/*"], "audio"),
        ("upload", ["video/mp4"], "video"),
        ("upload", ["*"], "image"),
    ],
)
def test_the_content_follows_from_target_and_media(target: str, media: list[str], content: str) -> None:
    assert content_of(campaign_of("class", target=target, media=media)) == content


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(question=NAMES, name=NAMES)
def test_no_name_breaks_the_xml(question: str, name: str) -> None:
    kept = campaign_of("class", question=question, classes=[name, f"{name} 2"])
    root = ET.fromstring(label_config(kept))  # noqa: S314  our own text
    assert len(root) == 3
    assert len(root.findall("Choices/Choice")) == 2


def test_gold_answers_are_not_in_it() -> None:
    gold = [{"key": "uploads/secret.jpg", "answer": {"choice": "cat"}}]
    assert label_config(campaign_of("class", gold=gold)) == label_config(campaign_of("class"))
