"""What most annotators marked: boxes, turned boxes, polygons, masks, points, segments and spans."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.labeling.consensus import clusters, marked, tables
from pipeline_assets.labeling.consensus.marked import Drawing, of_item, score
from pipeline_assets.labeling.consensus.question import Question
from tests.labeling.consensus.votes import frame, vote


def box(x: float, y: float, width: float, height: float, label: str = "car", **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, "label": label, **more}


def boxes(**drawn: list[dict[str, Any]]) -> list[Drawing]:
    return [Drawing(who, {"boxes": some}) for who, some in drawn.items()]


def polygon(*flat: float, label: str = "car") -> dict[str, Any]:
    return {"polygons": [list(flat)], "label": label}


def rle(columns: str, label: str = "car") -> dict[str, Any]:
    """A mask of columns of pixels, such as `.##./..#.`."""
    pixels = columns.replace("/", "")
    counts, inside = [0], False
    for pixel in pixels:
        if (pixel == "#") != inside:
            counts.append(0)
            inside = not inside
        counts[-1] += 1
    return {"rle": {"size": [len(columns.split("/")[0]), columns.count("/") + 1], "counts": counts}, "label": label}


def test_a_box_is_where_the_medians_are_and_stays_if_half_drew_it() -> None:
    found = of_item(
        "boxes",
        boxes(
            a=[box(10, 10, 100, 50), box(300, 300, 20, 20)],
            b=[box(12, 8, 100, 54)],
            c=[box(14, 12, 98, 50, "van"), box(305, 300, 20, 20)],
            d=[box(500, 0, 30, 30)],
        ),
    )
    assert found.labels == {"boxes": [box(302.5, 300, 20, 20), box(12, 10, 100, 52)]}
    assert found.is_disputed
    # car by two of four, the small box by two of four, the far one left out by three of four
    assert found.confidence == pytest.approx((2 / 4 + 2 / 4 + 3 / 4) / 3)
    assert found.scores == pytest.approx({"a": 1.0, "b": 2 / 3, "c": 2 * 1 / 4, "d": 0.0})


def test_weights_decide_what_half_is() -> None:
    drawn = [Drawing("a", {"boxes": [box(0, 0, 10, 10)]}, 0.9), Drawing("b", {"boxes": []}, 0.6)]
    found = of_item("boxes", drawn)
    assert found.labels == {"boxes": [box(0, 0, 10, 10)]}
    assert found.confidence == pytest.approx(0.6) and not found.is_disputed
    swapped = of_item("boxes", [Drawing("a", drawn[0].labels, 0.6), Drawing("b", drawn[1].labels, 0.9)])
    assert swapped.labels == {"boxes": []}


def test_an_annotator_has_one_box_of_a_car_and_two_cars_are_two() -> None:
    near = [box(0, 0, 100, 100), box(20, 0, 100, 100)]
    found = of_item("boxes", boxes(a=near, b=near, c=near))
    assert found.labels == {"boxes": near} and found.confidence == 1.0 and found.agreement == 1.0


def test_one_label_is_joined_before_two() -> None:
    found = of_item(
        "boxes",
        boxes(
            a=[box(0, 0, 100, 100, "horse"), box(0, 0, 100, 96, "rider")],
            b=[box(0, 0, 100, 97, "horse"), box(0, 0, 100, 99, "rider")],
        ),
    )
    assert {mark["label"] for mark in (found.labels or {})["boxes"]} == {"horse", "rider"}
    assert found.confidence == 1.0


def test_agreement_is_the_share_of_common_marks() -> None:
    found = of_item("boxes", boxes(a=[box(0, 0, 10, 10), box(50, 50, 10, 10)], b=[box(0, 0, 10, 10)], c=[]))
    assert found.agreement == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert of_item("boxes", boxes(a=[], b=[])).agreement == 1.0
    assert of_item("boxes", boxes(a=[], b=[])).labels == {"boxes": []}
    assert of_item("boxes", boxes(a=[box(0, 0, 1, 1)])).agreement is None


def test_further_keys_stay_where_all_agree() -> None:
    found = of_item("boxes", boxes(a=[box(0, 0, 9, 9, occluded=True, id="1")], b=[box(0, 0, 9, 9, occluded=True, id="2")]))
    assert found.labels == {"boxes": [box(0, 0, 9, 9, occluded=True)]}


def test_turned_boxes_overlap_as_they_are_turned() -> None:
    along = box(100, 100, 100, 10, rotation=45)
    same = box(101, 100, 100, 10, rotation=46)
    across = box(164, 93, 100, 10, rotation=135)
    assert score("boxes", {"boxes": [along]}, {"boxes": [same]}) == 1.0
    assert score("boxes", {"boxes": [along]}, {"boxes": [across]}) == 0.0
    assert score("boxes", {"boxes": [box(0, 0, 40, 20)]}, {"boxes": [box(40, 20, 40, 20, rotation=180)]}) == 1.0
    found = of_item("boxes", boxes(a=[along], b=[same], c=[box(99, 99, 102, 10, rotation=45)]))
    assert found.labels is not None and found.labels["boxes"][0] in (along, same, box(99, 99, 102, 10, rotation=45))


def test_of_polygons_one_is_taken() -> None:
    drawn = {
        "a": polygon(0, 0, 40, 0, 40, 40, 0, 40),
        "b": polygon(1, 0, 41, 0, 41, 40, 1, 40),
        "c": polygon(8, 0, 50, 0, 50, 40, 8, 40),
    }
    found = of_item("polygons", [Drawing(who, {"masks": [mark]}) for who, mark in drawn.items()])
    assert found.labels == {"masks": [drawn["b"]]}
    assert found.confidence == 1.0


def test_of_masks_the_majority_of_pixels_is_taken() -> None:
    drawn = {"a": rle(".##./.##./...."), "b": rle(".##./.###/...."), "c": rle(".#../.##./.#..")}
    found = of_item("masks", [Drawing(who, {"masks": [mark]}) for who, mark in drawn.items()])
    assert found.labels == {"masks": [rle(".##./.##./....")]}
    mixed = {"a": rle("####/####/...."), "b": polygon(0, 0, 2, 0, 2, 4, 0, 4)}
    both = of_item("masks", [Drawing(who, {"masks": [mark]}) for who, mark in mixed.items()])
    assert both.agreement == 1.0


def test_masks_of_two_sizes_are_refused_with_their_reason() -> None:
    drawn = [Drawing("a", {"masks": [rle("##/##")]}), Drawing("b", {"masks": [rle("##/##/##")]})]
    found = of_item("masks", drawn)
    assert found.labels is None and found.is_disputed and "2 sizes" in (found.reason or "")


def test_points_within_the_radius_are_one() -> None:
    drawn = [Drawing(who, {"points": [{"x": x, "y": 10, "label": "eye"}]}) for who, x in (("a", 0), ("b", 4), ("c", 19))]
    assert of_item("points", drawn).labels == {"points": [{"x": 4.0, "y": 10.0, "label": "eye"}]}
    apart = [Drawing(who, {"points": [{"x": x, "y": 10, "label": "eye"}]}) for who, x in (("a", 0), ("b", 21))]
    assert of_item("points", apart).agreement == 0.0


def test_segments_have_medians_and_spans_stay_true() -> None:
    drawn = [
        Drawing(who, {"segments": [{"start_s": start, "end_s": end, "label": "word"}]})
        for who, start, end in (("a", 0.1, 1.0), ("b", 0.2, 1.1), ("c", 0.15, 1.3))
    ]
    assert of_item("segments", drawn).labels == {"segments": [{"start_s": 0.15, "end_s": 1.1, "label": "word"}]}
    texts = [("a", 0, 6, "Zürich"), ("b", 0, 9, "Zürich HB"), ("c", 0, 6, "Zürich")]
    spans = [
        Drawing(who, {"spans": [{"start": start, "end": end, "text": text, "label": "place"}]})
        for who, start, end, text in texts
    ]
    assert of_item("spans", spans).labels == {"spans": [{"start": 0, "end": 6, "text": "Zürich", "label": "place"}]}


def test_ten_thousand_boxes_on_one_photo_are_clustered() -> None:
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 4000, (3400, 2))
    drawn = {who: [box(x, y, 20, 20) for x, y in (at + rng.normal(0, 0.5, at.shape)).tolist()] for who in "abc"}
    found = of_item("boxes", boxes(**drawn))
    assert found.labels is not None and abs(len(found.labels["boxes"]) - 3400) < 40
    assert found.confidence is not None and found.confidence > 0.95


def test_boxes_that_all_overlap_are_refused_with_their_reason() -> None:
    drawn = {who: [box(number / 100, 0, 500, 500) for number in range(1000)] for who in "abcde"}
    found = of_item("boxes", boxes(**drawn))
    assert found.labels is None and "pairs of marks" in (found.reason or "")
    row = tables.consensus(
        frame(*(vote("1", who, {"boxes": some}) for who, some in drawn.items())), NOBODY, Question("boxes", ("car",))
    ).row(0, named=True)
    assert row["answer_json"] is None and row["needs_adjudication"] and "pairs of marks" in row["reason"]


NOBODY = tables.qualities(frame(), Question("boxes"))


@pytest.mark.parametrize(
    "flat",
    [
        [0, 0, 9e18, 0, 9e18, 9e18],
        [0, 0, 1e-9, 0, 1e-9, 1],
        [5, 5, 5, 5, 5, 5],
        [-9e18, 0, 9e18, 1, 0, 9e18],
        [0, 0, 1, 1, 2, 2],
        *[[x for number in range(40_000) for x in (number % 2 * 8000.0, number)]],
    ],
)
def test_odd_polygons_are_compared_or_refused(flat: list[float]) -> None:
    drawn = [Drawing(who, {"masks": [polygon(*flat), polygon(0, 0, 4, 0, 4, 4)]}) for who in "ab"]
    found = of_item("polygons", drawn)
    assert found.labels is not None or found.reason is not None


corner = st.integers(0, 30)
side = st.integers(1, 30)
one_box = st.builds(box, corner, corner, side, side, st.sampled_from(["car", "van"]))
answers = st.dictionaries(st.sampled_from("abcd"), st.lists(one_box, max_size=4), min_size=1)


@given(answers, st.randoms())
def test_the_order_of_annotators_and_boxes_does_not_matter(drawn: dict[str, list[dict[str, Any]]], random: Any) -> None:
    shuffled = list(drawn.items())
    random.shuffle(shuffled)
    other = {who: random.sample(some, len(some)) for who, some in shuffled}
    assert of_item("boxes", boxes(**drawn)) == of_item("boxes", boxes(**other))


@given(answers)
def test_clusters_have_each_mark_once_and_each_annotator_at_most_once(drawn: dict[str, list[dict[str, Any]]]) -> None:
    owners = [number for number, some in enumerate(drawn.values()) for _ in some]
    marks = [mark for some in drawn.values() for mark in some]
    shapes = marked.SHAPES["boxes"](marks)
    found = clusters.clusters(shapes, owners, [mark["label"] for mark in marks], np.ones(len(drawn)))
    assert sorted(member for one in found for member in one.members) == list(range(len(marks)))
    for one in found:
        drawers = [owners[member] for member in one.members]
        assert len({*drawers}) == len(drawers)
        assert one.share == pytest.approx(len(drawers) / len(drawn))


@given(answers)
def test_shares_of_marks_are_between_nothing_and_all_and_one_with_oneself(drawn: dict[str, list[dict[str, Any]]]) -> None:
    found = of_item("boxes", boxes(**drawn))
    numbers = [*found.scores.values(), *(number for number in (found.confidence, found.agreement) if number is not None)]
    assert all(0 <= number <= 1 for number in numbers)
    for some in drawn.values():
        assert score("boxes", {"boxes": some}, {"boxes": some}) == 1.0


def test_quality_of_marks_is_their_share_with_the_consensus_or_gold() -> None:
    question = Question("boxes", ("car",))
    good, bad = {"boxes": [box(10, 10, 50, 50)]}, {"boxes": [box(200, 200, 50, 50)]}
    votes = frame(*(vote(f"{n:02}", who, bad if who == "d" else good) for n in range(30) for who in "abcd"))
    quality = tables.qualities(votes, question)
    assert quality["accuracy"].to_list() == pytest.approx([39 / 42] * 3 + [9 / 42])
    rows = tables.consensus(votes, quality, question)
    assert json.loads(rows["answer_json"][0]) == good and not rows["needs_adjudication"].any()
    assert {*rows["method"]} == {"clusters"} and not rows["fell_back"].any()
    gold = {f"{n:02}": json.dumps(bad) for n in range(12)}
    by_gold = tables.qualities(votes, question, gold)
    assert by_gold["gold_correct"].to_list() == [0, 0, 0, 12]
    assert by_gold["tier"].to_list() == ["blocked"] * 3 + ["annotator"]
    assert tables.consensus(votes, by_gold, question, gold)["method"].to_list().count("gold") == 12


def test_agreement_of_marks_and_of_classes_is_a_row() -> None:
    boxed = frame(*(vote("1", who, {"boxes": [box(0, 0, 9, 9)]}) for who in "ab"), vote("2", "a", {"boxes": []}))
    row = tables.agreements(boxed, Question("boxes"), seed=0).row(0, named=True)
    assert (row["items"], row["votes"], row["region_agreement"], row["alpha_nominal"]) == (2, 3, 1.0, None)
    single = tables.agreements(frame(vote("2", "a", {"boxes": []})), Question("boxes"), seed=0).row(0, named=True)
    assert single["region_agreement"] is None and "no item" in single["reason"]
    rated = frame(*(vote(f"{n}", who, str((n + (who == "c" and n % 3 == 0)) % 4)) for n in range(20) for who in "abc"))
    levels = {scale: tables.agreements(rated, Question("class", ("0", "1", "2", "3"), scale), seed=0) for scale in SCALES}
    defined = {scale: [name for name in ALPHAS if levels[scale][name][0] is not None] for scale in SCALES}
    assert defined == {"nominal": ALPHAS[:1], "ordinal": ALPHAS[:2], "interval": ALPHAS}
    assert levels["interval"]["alpha_low"][0] < levels["interval"]["alpha_interval"][0] < levels["interval"]["alpha_high"][0]
    named = frame(*(vote(f"{n}", who, "ab"[n % 2]) for n in range(4) for who in "ab"))
    odd = tables.agreements(named, Question("class", ("a", "b"), "interval"), seed=0).row(0, named=True)
    assert odd["alpha_interval"] is None and "no numbers" in odd["reason"] and odd["alpha_nominal"] == 1.0
    empty = tables.agreements(frame(), Question("class"), seed=0).row(0, named=True)
    assert empty["items"] == 0 and "no item has two ratings" in empty["reason"]


SCALES = ("nominal", "ordinal", "interval")
ALPHAS = ["alpha_nominal", "alpha_ordinal", "alpha_interval"]
