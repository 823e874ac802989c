"""Texts as a kind: the contract, labels that stay true, determinism, what is refused."""

import io
import time
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.variants.kinds import Kind, Made, Parent, Task
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id
from pipeline_assets.variants.text import COLUMNS, KIND
from pipeline_assets.variants.text.kind import MAX_BYTES
from pipeline_assets.variants.text.make_synonyms import FOLDER, WordNet, table
from pipeline_assets.variants.text.sheet import changes, lines

RECIPES = [KIND.complete(recipe) for recipe in KIND.recipes.values()]
WORDS = ["The", "a", "an", "Anna", "Lee", "of", "car", "cars", "bought", "rainy", "12:30", "@zoe", "#fun", "夜", "📷", "don't",
         "https://x.y/z", "Leeds", "and", "quickly", "photo", "İzmir", "e\u0301t\u00e9", "I", "small"]  # fmt: skip


def parent(text, labels=None):
    data = text if isinstance(text, bytes) else text.encode()
    return Parent(sha256(data).hexdigest(), data, labels or {})


def work(parent, recipe, number=0):
    seed = seed_of((parent.sha256,), recipe, 1, number)
    return Task(variant_id((parent.sha256,), recipe, seed), (parent.sha256,), recipe, seed), (parent,)


def made(text, recipe, labels=None):
    ((_, outcome),) = KIND.make([work(parent(text, labels), KIND.complete(recipe))])
    return outcome


@st.composite
def labelled_texts(draw):
    parts = draw(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", " ", ", ", "\n", " – ", ". ", "  "]))))
    text = "".join(map("".join, parts)) + draw(st.text(max_size=8))
    cuts = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=4))
    return text, [
        {"start": min(c), "end": max(c), "label": "x", "text": text[min(c) : max(c)]} for c in cuts if c[0] != c[1]
    ]


def test_it_keeps_the_contract():
    kind: Kind = KIND
    assert kind.name == "text"
    assert set(made("my small car", Recipe("synonyms")).columns) == set(COLUMNS.columns())


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(labelled=labelled_texts(), recipe=st.sampled_from(RECIPES), number=st.integers(0, 5))
def test_labels_stay_true_whatever_is_done(labelled, recipe, number):
    text, spans = labelled
    ((_, outcome),) = KIND.make([work(parent(text, {"spans": spans, "language": "en"}), recipe, number)])
    if isinstance(outcome, UnfitParent):
        assert outcome.reason in {"unchanged", "empty"}
        return
    assert KIND.problems(outcome) == []
    assert outcome.data.decode() == outcome.columns["text"] != text == outcome.columns["parent_text"]
    assert [s["text"] for s in outcome.labels.get("spans", [])] == [s["text"] for s in spans]
    assert outcome.labels["language"] == "en"
    protected = [w for w in ("12:30", "@zoe", "#fun", "📷", "Anna", "https://x.y/z") if w in text]
    assert all(outcome.columns["text"].count(w) == text.count(w) for w in protected)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(labelled_texts(), min_size=2, max_size=6), order=st.randoms(use_true_random=False))
def test_a_variant_depends_on_nothing_but_its_task(texts, order):
    works = [work(parent(text, {"spans": spans}), recipe) for text, spans in texts for recipe in RECIPES[:3]]
    together = [outcome for _, outcome in KIND.make(works)]
    shuffled = list(enumerate(works))
    order.shuffle(shuffled)
    apart = {at: next(iter(KIND.make([one])))[1] for at, one in shuffled}
    among_others = {at: outcome for (at, _), (_, outcome) in zip(shuffled, KIND.make([w for _, w in shuffled]), strict=True)}
    for at, outcome in enumerate(together):
        for again in (apart[at], among_others[at]):
            if isinstance(outcome, Made):
                assert (again.data, again.labels, again.columns) == (outcome.data, outcome.labels, outcome.columns)
            else:
                assert again.reason == outcome.reason


def test_the_bytes_are_the_same_as_ever():
    text = "My small dog bought a car near the rainy market of Leeds, and the children walked quickly at 12:30"
    found = {name: made(text, recipe).data.decode() for name, recipe in KIND.recipes.items()}
    assert found["synonyms"] == (
        "My little dog purchased a car near the rainy market of Leeds, and the kids walked quickly at 12:30"
    )
    assert sha256("\n".join(found.values()).encode()).hexdigest()[:16] == "9813a214bcc22579"


def test_children_differ():
    recipe = KIND.complete(Recipe("typos"))
    one = parent("a small boat leaves the quiet harbour before the morning rain")
    assert len({outcome.data for _, outcome in KIND.make([work(one, recipe, number) for number in range(20)])}) > 15


@pytest.mark.parametrize(
    ("data", "labels", "reason"),
    [
        (b"", {}, "empty"),
        (b" \n\t", {}, "empty"),
        (b"\xff\xfe", {}, "undecodable"),
        ("café".encode("latin-1"), {}, "undecodable"),
        (b"\xed\xa0\x80 lone surrogate", {}, "undecodable"),
        (b"small car " * (MAX_BYTES // 10 + 1), {}, "too_large"),
        (b"12:30", {}, "unchanged"),
        (b"London", {}, "unchanged"),
        ("📷".encode(), {}, "unchanged"),
        (b"small car", {"spans": [{"start": 0, "end": 90}]}, "bad_labels"),
        (b"small car", {"spans": [{"start": 0, "end": 5, "text": "large"}]}, "bad_labels"),
        (b"small car", {"spans": ["small"]}, "bad_labels"),
        (b"small car", {"spans": 7}, "bad_labels"),
        (b"small car", {"spans": [{"start": 0, "end": 9, "text": "small car"}]}, "unchanged"),
    ],
)
def test_a_text_that_nothing_can_be_made_of_has_its_reason_and_harms_no_neighbour(data, labels, reason):
    recipe = KIND.complete(Recipe("synonyms"))
    works = [work(parent("a car"), recipe), work(parent(data, labels), recipe), work(parent("a car"), recipe)]
    first, bad, last = (outcome for _, outcome in KIND.make(works))
    assert isinstance(bad, UnfitParent) and bad.reason == reason and bad.detail
    assert first.data == last.data


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["a.", "a@", "@", "a-", "ab'", "www.", "A ", "Of of ", "and, ", "cat ", "x" * 50, "1.", "\u200d", "a+b@c-", " ", "é"],
)
def test_long_texts_take_time_in_proportion(piece):
    text = (piece * 300_000)[:300_000] + " cat and dog"
    one = parent(text, {"spans": [{"start": 300_001, "end": 300_004, "label": "animal"}]})
    began = time.process_time()
    outcomes = [outcome for _, outcome in KIND.make([work(one, recipe) for recipe in RECIPES])]
    assert time.process_time() - began < 20
    assert all(isinstance(outcome, UnfitParent) or KIND.problems(outcome) == [] for outcome in outcomes)


def test_a_parent_may_lie_in_a_file(tmp_path):
    path = tmp_path / "title.txt"
    path.write_bytes(b"a small car")
    recipe = KIND.complete(Recipe("synonyms"))
    task, (held,) = work(parent("a small car"), recipe)
    filed, missing = Parent(held.sha256, path), Parent(held.sha256, tmp_path / "none")
    here, there, nowhere = (outcome for _, outcome in KIND.make([(task, (p,)) for p in (held, filed, missing)]))
    assert here.data == there.data
    assert nowhere.reason == "undecodable"


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("blur"),
        Recipe("synonyms", share=0),
        Recipe("synonyms", share=1.5),
        Recipe("synonyms", share=(0.5, 2.0)),
        Recipe("synonyms", senses=9),
        Recipe("typos", kinds=()),
        Recipe("typos", kinds=("triple",)),
        Recipe("reorder", distance=0),
        Recipe("delete", often=True),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipe):
    with pytest.raises(BadRecipe):
        KIND.complete(recipe)


def test_problems_are_told():
    good = made("my small car in Leeds", Recipe("synonyms"), {"spans": [{"start": 16, "end": 21, "label": "place"}]})
    span = good.labels["spans"][0]
    wrong = [{**span, "start": span["start"] - 1}, {**span, "end": 999}, {**span, "text": "Paris"}]
    assert [len(KIND.problems(Made(good.data, "", "", {"spans": [s]}, good.columns))) for s in wrong] == [1, 1, 1]
    assert KIND.problems(Made(good.data, "", "", {}, {"text": "another"})) == ["the column `text` is not the content"]


def test_the_contact_sheet_is_a_picture_of_any_text():
    texts = ["My small car & <b>dog</b> \x07", "夜 of the boats, again", "a very long walk " * 60, "one"]
    shown = []
    for text in texts:
        one = parent(text)
        tasks = [work(one, recipe) for recipe in RECIPES]
        shown.append((one, [(task, m) for task, m in KIND.make(tasks) if isinstance(m, Made)]))
    with Image.open(io.BytesIO(KIND.contact_sheet(shown))) as picture:
        assert picture.format == "PNG"
        assert picture.width == 1920


def test_what_changed_is_told_and_lines_hold_it_all():
    runs = changes("a red boat", "a boat sails")
    assert runs == [("a ", "same"), ("red ", "gone"), ("boat ", "same"), ("sails", "new")]
    assert "".join(text for text, how in runs if how != "gone") == "a boat sails"
    broken = ["".join(text for text, _ in line) for line in lines([("word " * 30, "same")])]
    assert [line.split() for line in broken] == [["word"] * 18, ["word"] * 12]


@pytest.mark.skipif(not FOLDER.exists(), reason="WordNet's files are not here (Debian: wordnet-base)")
@pytest.mark.slow
def test_the_kept_synonyms_are_those_of_wordnet():
    import polars as pl
    from polars.testing import assert_frame_equal

    from pipeline_assets.variants.text.lexicon import SYNONYMS

    assert_frame_equal(table(WordNet.read(FOLDER)), pl.read_parquet(SYNONYMS).drop("takes_an"))
