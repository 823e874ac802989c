"""The synonyms that the project keeps: none hurts, none is an abbreviation, and each has the article that it is spoken with."""

import re
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.variants.recipes import generator
from pipeline_assets.variants.text.lexicon import NEVER, SYNONYMS, lexicon
from pipeline_assets.variants.text.operations import TEXT
from pipeline_assets.variants.text.words import Draft, parse

WORDNET = Path("/usr/share/wordnet")
SLURS = "spic spick coon gook chink dyke faggot kike wop squaw nigger retard cunt fuck shit slut whore queer gypsy cripple"


@pytest.fixture(scope="module")
def results() -> set[str]:
    """Every word that stands as a synonym anywhere in the file."""
    return {word for words in pl.read_parquet(SYNONYMS)["synonyms"] for word in words.split()}


def test_no_result_is_a_slur_an_insult_or_an_obscenity(results: set[str]) -> None:
    assert len(results) > 40_000
    assert results.isdisjoint(SLURS.split())
    assert results.isdisjoint(NEVER)


@pytest.mark.skipif(not WORDNET.is_dir(), reason="WordNet's files are absent: Debian's package wordnet-base has them")
def test_no_result_has_a_meaning_that_wordnet_marks(results: set[str]) -> None:
    """Read from WordNet's files in the shortest way, and not by the code that makes the list."""
    marks = re.compile(r";u (?:06718862|06717170|07124340) n (..)..")
    marked = set()
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text(encoding="ascii").splitlines():
            for which in marks.findall(line):
                words = line.split()[4 : 4 + 2 * int(line.split()[3], 16) : 2]
                marked.update(words[int(which, 16) - 1 : int(which, 16)] if int(which, 16) else words)
    singular = {word.lower().partition("(")[0] for word in marked}
    assert {"spic", "dyke", "pickaninny"} <= singular
    assert results.isdisjoint(singular | {f"{word}s" for word in singular})


def test_a_clean_title_stays_clean() -> None:
    allowed = {"spotless", "immaculate", "speckless"}
    seen = set()
    for seed in range(200):
        draft = Draft.of(parse("spotless beach"))
        model = TEXT["synonyms"].parameters.model_validate({"share": 1.0, "senses": 3})
        TEXT["synonyms"].function(draft, generator(seed), **model.model_dump())
        seen.add(draft.pieces[1])
    assert len(seen) > 1
    assert seen <= allowed


def test_no_result_is_an_abbreviation_without_a_vowel(results: set[str]) -> None:
    assert [word for word in sorted(results) if not re.search("[aeiouy]", word)] == []


@pytest.mark.parametrize(
    ("word", "article"),
    [
        ("unintentional", "an"),
        ("unimportant", "an"),
        ("university", "a"),
        ("unanimous", "a"),
        ("ubiquitous", "a"),
        ("usher", "an"),
        ("usage", "a"),
        ("umbrella", "an"),
        ("european", "a"),
        ("hour", "an"),
        ("honest", "an"),
        ("house", "a"),
        ("one", "a"),
        ("onerous", "an"),
        ("car", "a"),
        ("apple", "an"),
    ],
)
def test_the_article_goes_by_the_sound(word: str, article: str) -> None:
    assert lexicon().takes_an(word) == (article == "an")
