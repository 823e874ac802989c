"""What each operation does to a text."""

import pytest

from pipeline_assets.variants.recipes import generator
from pipeline_assets.variants.text.operations import NEIGHBOURS, TEXT
from pipeline_assets.variants.text.sheet import changes
from pipeline_assets.variants.text.words import Draft, parse

SEEDS = range(40)


def applied(name, text, seed, **parameters):
    draft = Draft.of(parse(text))
    model = TEXT[name].parameters.model_validate(parameters)
    TEXT[name].function(draft, generator(seed), **model.model_dump())
    return draft.text


def outcomes(name, text, **parameters):
    return {applied(name, text, seed, **parameters) for seed in SEEDS}


def test_a_synonym_takes_over_case_and_the_article_follows():
    assert outcomes("synonyms", "A car", share=1.0) == {"An auto", "An automobile", "A motorcar"}
    assert outcomes("synonyms", "we saw an automobile", share=1.0) <= {
        f"we saw {thing}" for thing in ("a car", "an auto", "a motorcar", "a machine")
    }


def test_an_article_that_is_no_neighbour_stays():
    assert all(text.startswith("a, ") for text in outcomes("synonyms", "a, car", share=1.0))


def test_ambiguous_and_unknown_words_get_no_synonyms():
    assert outcomes("synonyms", "the light xyzzy", share=1.0) == {"the light xyzzy"}


def test_words_change_places_within_their_clause_only():
    for text in outcomes("reorder", "dogs bark loudly, cats sleep", share=1.0):
        left, right = text.split(", ")
        assert sorted(left.split()) == ["bark", "dogs", "loudly"]
        assert sorted(right.split()) == ["cats", "sleep"]


def test_words_move_no_further_than_the_distance():
    assert outcomes("reorder", "one two three four", share=0.2, distance=1) == {
        "two one three four",
        "one three two four",
        "one two four three",
    }


def test_a_sentences_capital_stays_at_its_start():
    assert outcomes("reorder", "Quiet street", share=1.0) <= {"Street quiet", "Quiet street"}
    assert outcomes("reorder", "Quiet street", share=0.1) == {"Street quiet"}


def test_a_lone_word_keeps_its_place():
    assert outcomes("reorder", "cats, dogs, 7 and birds", share=1.0) == {"cats, dogs, 7 and birds"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red boat", {"red", "boat"}),
        ("Red boat", {"Red", "Boat"}),
        ("the old boat", {"old boat", "the boat", "the old"}),
        ("boat, London", {"boat, London"}),
        ("(boat) London", {"(boat) London"}),
        ("red, boat, car", {"red, boat, car"}),
        ("red boat, London", {"boat, London", "red, London"}),
        ("old $20", {"$20"}),
        ("boat", {"boat"}),
        ("boat…", {"boat…"}),
    ],
)
def test_a_word_goes_with_one_space(text, expected):
    assert outcomes("delete", text, share=0.1) == expected


def test_the_capital_passes_on_to_the_word_that_is_first_then():
    assert outcomes("delete", "The old, red boat of London", share=0.1) >= {"Old, red boat of London"}
    assert all(text[0].isupper() for text in outcomes("delete", "The very old red boat", share=0.8))


def test_one_word_stays_at_least():
    assert outcomes("delete", "red green blue", share=1.0) == {"red", "green", "blue"}


def test_each_mistake_is_one_of_those_asked_for():
    assert outcomes("typos", "cat", share=1.0, kinds=["drop"]) == {"ct", "ca"}
    assert outcomes("typos", "cat", share=1.0, kinds=["swap"]) == {"cta"}
    neighbours = {f"c{key}t" for key in NEIGHBOURS["a"]} | {f"ca{key}" for key in NEIGHBOURS["t"]}
    assert outcomes("typos", "cat", share=1.0, kinds=["neighbour"]) <= neighbours


def test_a_mistake_always_changes_the_word():
    for kind in ("neighbour", "swap", "drop"):
        for word in ("aaa", "moon", "λίμνη", "don't", "Forest"):
            assert word not in outcomes("typos", word, share=1.0, kinds=[kind]), (kind, word)


def test_neighbours_are_beside_each_other_both_ways():
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")
    assert set(NEIGHBOURS["q"]) == set("wa")
    assert set(NEIGHBOURS["m"]) == set("njk")
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


@pytest.mark.parametrize("name", sorted(TEXT))
def test_the_share_is_of_the_words_that_could_change_and_one_at_least(name):
    words = ["old boat", "wide lake", "big car", "tiny photo"] * 25
    text = ", ".join(words)
    few, all_of_them = applied(name, text, 3, share=0.001), applied(name, text, 3, share=1.0)
    assert len({text, few, all_of_them}) == 3
    assert _differing(text, few) < _differing(text, all_of_them)


def _differing(before, after):
    return sum(how != "same" for _, how in changes(before, after))
