"""What of a text may change, and where its spans are afterwards."""

import pytest

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.text.lexicon import lexicon
from pipeline_assets.variants.text.words import Draft, parse


def free(text, spans=()):
    words = parse(text, spans)
    return [words.pieces[place] for place in words.free]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Quiet street", ["Quiet", "street"]),
        ("a day with Anna in the park", ["a", "day", "with", "in", "the", "park"]),
        ("Golden Gate at dusk", ["at", "dusk"]),
        ("the Isle of Man ferry", ["the", "ferry"]),
        ("the Lord of the Rings set", ["the", "set"]),
        ("Ludwig van Beethoven plays", ["plays"]),
        ("It rains. Then London shines", ["It", "rains", "shines"]),
        ("London shines", ["shines"]),
        ("Xyzzy shines", ["shines"]),
        ("It rains. Then we met J. K. Rowling", ["It", "rains", "Then", "we", "met"]),
        ("at 12:30 on the 5th, f/2.8 and 24-70mm", ["at", "on", "the", "f", "and"]),
        ("paid $20 for two", ["paid", "for", "two"]),
        ("thanks @zoe for #goldenhour photos", ["thanks", "for", "photos"]),
        ("see https://example.com/a-b?c=d now", ["see", "now"]),
        ("see www.example.com/cat now", ["see", "now"]),
        ("write to some.one+x@example.co.uk today", ["write", "to", "today"]),
        ("don’t touch the well-known cat", ["don’t", "touch", "the", "well-known", "cat"]),
        ("snake_case stays", ["stays"]),
        ("cat 📷 👩‍👩‍👧 dog", ["cat", "dog"]),
        ("夜 and मुंबई", ["夜", "and"]),
        ("NASA and the moon", ["and", "the", "moon"]),
        ("…", []),
        ("", []),
    ],
)
def test_only_words_that_are_no_names_numbers_or_addresses_are_free(text, expected):
    assert free(text) == expected


def test_a_word_that_a_span_covers_in_part_is_not_free():
    text = "small red boat at sea"
    assert free(text, [{"start": 6, "end": 12, "label": "thing"}]) == ["small", "at", "sea"]


def test_pieces_are_the_text():
    text = "  “Hello”, she said – twice… and\tleft.\n"
    assert "".join(parse(text).pieces) == text


def test_words_of_one_clause_share_a_number():
    words = parse("dogs bark, cats sleep and birds sing: all day")
    by_word = {words.pieces[p]: c for p, c in zip(words.free, words.clause, strict=True)}
    assert by_word["dogs"] == by_word["bark"] != by_word["cats"] == by_word["sleep"] != by_word["birds"] == by_word["sing"]
    assert by_word["and"] == -1
    assert by_word["all"] == by_word["day"] != by_word["sing"]


@pytest.mark.parametrize(
    "span",
    [
        {"start": 0, "end": 9},
        {"start": -1, "end": 2},
        {"start": 2, "end": 2},
        {"start": 3, "end": 2},
        {"start": 0.0, "end": 2},
        {"start": True, "end": 2},
        {"end": 2},
        {},
        {"start": 0, "end": 3, "text": "dog"},
    ],
)
def test_a_span_that_is_not_the_texts_is_refused(span):
    with pytest.raises(UnfitParent, match="bad_labels"):
        parse("cat nap", [span])


def test_spans_follow_where_words_before_between_and_behind_them_change():
    text = "my small cat met Anna Lee at the old pier"
    spans = [{"start": 17, "end": 25, "label": "person"}, {"start": 33, "end": 41, "label": "place"}]
    draft = Draft.of(parse(text, spans))
    for old, new in [("small", "extraordinarily little"), ("at", "")]:
        draft.pieces[draft.pieces.index(old)] = new
    moved = draft.spans()
    assert [draft.text[s["start"] : s["end"]] for s in moved] == ["Anna Lee", "old pier"] == [s["text"] for s in moved]
    assert [s["label"] for s in moved] == ["person", "place"]


def test_a_span_may_begin_and_end_inside_words_and_spaces():
    text = "the redboat  sails"
    draft = Draft.of(parse(text, [{"start": 7, "end": 12, "label": "thing"}, {"start": 3, "end": 4, "label": "space"}]))
    draft.pieces[1] = "those"
    assert [draft.text[s["start"] : s["end"]] for s in draft.spans()] == ["boat ", " "]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("cars", ("automobiles", "autos", "motorcars")),
        ("bought", ("purchased",)),
        ("rainy", ("showery",)),
        ("light", ()),  # noun, verb or adjective
        ("the", ()),
        ("xyzzy", ()),
    ],
)
def test_synonyms_have_their_words_form(word, expected):
    assert lexicon().synonyms(word, 1) == expected


def test_more_senses_give_more_synonyms():
    few, many = lexicon().synonyms("car", 1), lexicon().synonyms("car", 3)
    assert few == many[: len(few)]
    assert "gondola" in many[len(few) :]
