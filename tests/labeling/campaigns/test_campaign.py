"""Campaign files: what is read, and what each fault of one says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline_assets.errors import BadCampaign, UnfitParent
from pipeline_assets.labeling.campaigns import answer, campaign

SHARP = "question: Is the photo sharp?\nkind: class\nclasses: [sharp, blurred]\n"


def test_a_campaign_is_named_as_its_file_and_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "sharp.yaml").write_text(SHARP + "first_day: 2026-03-01\n")
    [one] = campaign.read(tmp_path)
    assert (one.name, one.version, one.classes, one.votes, one.most_votes) == ("sharp", 1, ["sharp", "blurred"], 3, 3)
    assert campaign.parse_definition(one.definition) == one


def test_a_faulty_file_is_set_aside_with_its_fault(tmp_path: Path) -> None:
    (tmp_path / "sharp.yaml").write_text(SHARP)
    (tmp_path / "bad.yaml").write_bytes(b"\xff")
    usable, faults = campaign.usable(tmp_path)
    assert [one.name for one in usable] == ["sharp"]
    assert faults == {"bad.yaml": "campaigns/bad.yaml is no text in UTF-8."}


def test_files_that_can_not_be_read_are_set_aside_and_those_of_an_editor_are_none(tmp_path: Path) -> None:
    (tmp_path / "sharp.yaml").write_text(SHARP)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nothing")
    (tmp_path / ".#sharp.yaml").symlink_to(tmp_path / "nothing")
    (tmp_path / "big.yaml").write_bytes(b" " * (campaign.MAX_FILE_BYTES + 1))
    usable, faults = campaign.usable(tmp_path)
    assert [one.name for one in usable] == ["sharp"]
    assert set(faults) == {"folder.yaml", "gone.yaml", "big.yaml"}
    assert campaign.usable(tmp_path, mentioning="no such text")[0] == []


def test_many_names_of_one_mapping_are_read_in_no_time() -> None:
    slices = "".join(f"  s{number}: width_px > {number}\n" for number in range(20_000))
    assert len(campaign.parse(SHARP + "slices:\n" + slices, "sharp").slices) == 20_000


def test_no_folder_has_no_campaigns(tmp_path: Path) -> None:
    assert campaign.read(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SHARP + "colour: red\n", "`colour` is no field of a campaign"),
        (SHARP + "kind: class\n", "'kind' is given twice"),
        (SHARP + "name: other\n", "named as its file"),
        ("[]", "is no campaign"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("question: [", "is no YAML"),
        ("kind: class\nclasses: [a, b]\n", "question: Field required"),
        ("question: q\nkind: class\n", "at least two classes"),
        ("question: q\nkind: boxes\n", "needs classes"),
        ("question: q\nkind: class\nclasses: [a, a]\n", "listed twice"),
        ("question: q\nkind: class\nclasses: [a, 1]\n", "classes.1"),
        ("question: q\nkind: opinion\n", "kind"),
        ("question: q\nkind: spans\nclasses: [a]\n", "target: title"),
        ("question: q\nkind: boxes\nclasses: [a]\ntarget: title\n", "a title has no boxes"),
        (SHARP + "votes: 5\nmax_votes: 3\n", "max_votes is below votes"),
        (SHARP + "votes: 0\n", "votes"),
        (SHARP + "votes: '3'\n", "votes"),
        (SHARP + "predictions: {cat: [tabby]}\n", "`cat` is none"),
        (SHARP + "gold: [{key: a, answer: {choice: soft}}]\n", "the gold answer of a is invalid: 'soft' is no class"),
        (SHARP + "gold: [{answer: {choice: sharp}}]\n", "`sha256` or `key`"),
        (SHARP + "random_share: 0\n", "random_share"),
        (SHARP + "weak: os.path; import x\n", "weak"),
        (SHARP + "first_day: 2026-02-30\n", "is no YAML"),
        (SHARP + "first_day: 2026-02-01 25:61:00\n", "is no YAML"),
        (SHARP + f"votes: {'9' * 5_000}\n", "is no YAML"),
        (SHARP + "votes: !!int ''\n", "is no YAML"),
        (SHARP + "votes: !!float x\n", "is no YAML"),
        (SHARP + "votes: !!bool x\n", "is no YAML"),
        (SHARP + "slices: !!map [1]\n", "is no YAML"),
        (SHARP + 'instructions: "\\UFFFFFFFF"\n', "is no YAML"),
        (SHARP + "media: []\n", "media"),
        (SHARP + "? [a, b]\n: 1\n", "is no YAML"),
    ],
)
def test_a_fault_of_a_file_is_named(text: str, says: str) -> None:
    with pytest.raises(BadCampaign, match=r"campaigns/sharp\.yaml") as found:
        campaign.parse(text, "sharp")
    assert says in str(found.value)


def test_only_what_is_asked_makes_another_question() -> None:
    one = campaign.parse(SHARP, "sharp")
    assert campaign.parse(SHARP + "price: 0.05\nvotes: 5\n", "sharp").question_digest == one.question_digest
    assert campaign.parse(SHARP.replace("sharp?", "clear?"), "sharp").question_digest != one.question_digest
    assert campaign.parse(SHARP + "price: 0.05\n", "sharp").digest != one.digest


BOX = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "cat"}


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("class", {"choice": "cat"}, '{"choice":"cat"}'),
        ("classes", {"choices": ["dog", "cat", "dog"]}, '{"choices":["cat","dog"]}'),
        ("classes", {"choices": []}, '{"choices":[]}'),
        ("ranking", {"ranking": ["dog", "cat"]}, '{"ranking":["dog","cat"]}'),
        ("text", {"text": "ż"}, '{"text":"\\u017c"}'),
        ("boxes", {"boxes": []}, '{"boxes":[]}'),
        ("boxes", {"boxes": [BOX]}, '{"boxes":[{"height":4,"label":"cat","width":3,"x":1,"y":2}]}'),
        ("points", {"points": [{"x": 1, "y": 2, "label": "cat"}]}, '{"points":[{"label":"cat","x":1,"y":2}]}'),
        (
            "masks",
            {"masks": [{"rle": {"size": [2, 2], "counts": [1, 3]}, "label": "cat"}]},
            '{"masks":[{"label":"cat","rle":{"counts":[1,3],"size":[2,2]}}]}',
        ),
        (
            "polygons",
            {"masks": [{"polygons": [[0, 0, 4, 0, 4, 4]], "label": "cat"}]},
            '{"masks":[{"label":"cat","polygons":[[0,0,4,0,4,4]]}]}',
        ),
        ("segments", {"segments": [{"start_s": 0, "end_s": 1.5, "label": "cat"}]}, None),
        ("spans", {"spans": [{"start": 0, "end": 3, "label": "cat", "text": "cat"}]}, None),
    ],
)
def test_an_answer_has_one_form(kind: str, given: dict[str, object], kept: str | None) -> None:
    text = answer.canonical(kind, ["cat", "dog"], given)
    assert kept is None or text == kept
    assert answer.parse(kind, ["cat", "dog"], text) == text


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("class", {"choice": "cow"}, "unknown_class"),
        ("class", {"choice": ["cat"]}, "unknown_class"),
        ("class", {}, "unknown_class"),
        ("class", [], "bad_labels"),
        ("classes", {"choices": "cat"}, "bad_labels"),
        ("ranking", {"ranking": ["cat", "cat"]}, "bad_labels"),
        ("text", {"text": 3}, "bad_labels"),
        ("boxes", {"boxes": [BOX | {"width": 0}]}, "bad_labels"),
        ("boxes", {"boxes": [BOX | {"x": float("nan")}]}, "bad_labels"),
        ("boxes", {"boxes": [BOX | {"label": "cow"}]}, "unknown_class"),
        ("boxes", {"boxes": [BOX | {"rotation": "north"}]}, "bad_labels"),
        ("boxes", {"boxes": [BOX] * 10_000}, "too_many_marks"),
        ("boxes", {"boxes": [1]}, "bad_labels"),
        ("points", {"points": [{"x": 1, "label": "cat"}]}, "bad_labels"),
        ("masks", {"masks": [{"rle": {"size": [2, 2], "counts": [1, 2]}, "label": "cat"}]}, "bad_labels"),
        ("masks", {"masks": [{"rle": {"size": [2], "counts": [4]}, "label": "cat"}]}, "bad_labels"),
        ("masks", {"masks": [{"rle": 1, "label": "cat"}]}, "bad_labels"),
        ("segments", {"segments": [{"start_s": 2, "end_s": 1, "label": "cat"}]}, "bad_labels"),
        ("segments", {"segments": [{"start_s": -1, "end_s": 1, "label": "cat"}]}, "bad_labels"),
        ("spans", {"spans": [{"start": 1, "end": None, "label": "cat"}]}, "bad_labels"),
    ],
)
def test_an_answer_that_is_none_says_why(kind: str, given: object, reason: str) -> None:
    with pytest.raises(UnfitParent) as found:
        answer.canonical(kind, ["cat", "dog"], given)
    assert found.value.reason == reason


ANSWER = {
    "source": "tool",
    "source_id": "1",
    "revision": 0,
    "task_key": "a" * 64,
    "annotator": "7",
    "answered_at": datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("source_id", "", "no_id"),
        ("annotator", "", "no_id"),
        ("annotator", "a\0b", "bad_text"),
        ("extra_json", "\ud800", "bad_text"),
        ("extra_json", "x" * 70_000, "bad_text"),
        ("task_key", "../../etc", "unknown_task"),
        ("answered_at", datetime(2026, 1, 1), "bad_time"),  # noqa: DTZ001
        ("answered_at", datetime(1, 1, 1, tzinfo=UTC), "bad_time"),
        ("lead_time_s", -1.0, "bad_time"),
        ("lead_time_s", float("nan"), "bad_time"),
        ("revision", 2**63, "bad_revision"),
        ("revision", -1, "bad_revision"),
    ],
)
def test_no_answer_exists_that_a_database_can_not_store(field: str, value: object, reason: str) -> None:
    answer.Answer(**ANSWER)  # type: ignore[arg-type]
    with pytest.raises(UnfitParent) as found:
        answer.Answer(**{**ANSWER, field: value})  # type: ignore[arg-type]
    assert found.value.reason == reason
