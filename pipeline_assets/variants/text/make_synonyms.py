"""`python -m pipeline_assets.variants.text.make_synonyms [FOLDER]`: writes `synonyms.parquet` anew from WordNet's files.

FOLDER: where WordNet 3.0's `index.*`, `data.*` and `cntlist.rev` lie; Debian's package `wordnet-base` puts them into
`/usr/share/wordnet`. Nothing else imports this module: what it finds out once (which part of speech a word is, how its
synonyms are inflected) is in the file, so that making a variant needs neither a tagger nor lemminflect.

The file has one row a word form, sorted: `word`; `tag`, the Penn Treebank tag of its only likely reading, or null;
`synonyms`, in the same form, spaces between; `ranks`, a digit for each: the meaning that they share is among this many first
ones of both words; `is_common`: it is no name that WordNet knows, or an adjective too.
"""

import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipeline_assets.variants.text.lexicon import FUNCTION_WORDS, SYNONYMS

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
"""Meanings after a word's third are left out: nobody who meets it thinks of them."""
LIKELY = 0.9
"""Share of a form's uses in WordNet's tagged texts that its reading must have; other forms are left alone."""
PERSONS = "18"
"""Number of the file of WordNet's that persons are in: lexnames(5WN)."""
_PLAIN = re.compile(r"[a-z]{2,}")
_SENSE_TYPES = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}

Lemma = tuple[str, str]
"""Part of speech and base form."""


@dataclass
class WordNet:
    """What is read. senses: each lemma's synsets, the most used first; members: each synset's words; uses: tagged counts."""

    senses: dict[Lemma, list[str]] = field(default_factory=dict)
    members: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    uses: dict[Lemma, int] = field(default_factory=lambda: defaultdict(int))
    names: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> "WordNet":
        """From WordNet's own files; wndb(5WN) and cntlist(5WN) say what is in them."""
        found = cls()
        for part in PARTS:
            for line in _lines(folder / f"index.{part}"):
                lemma, _, synsets, pointers, *rest = line.split()
                found.senses[part, lemma] = rest[int(pointers) + 2 :][: int(synsets)]
            for line in _lines(folder / f"data.{part}"):
                offset, lexicographer, _, count, *rest = line.split()
                is_person = lexicographer == PERSONS and "@i" in rest
                words = rest[: 2 * int(count, 16) : 2]
                # "(p)" after an adjective says that it can't stand where others do.
                found.members[part, offset] = [word for word in words if _PLAIN.fullmatch(word)]
                found.names.update(name for word in words if (name := _name(word, is_person)))
        for line in (folder / "cntlist.rev").read_text(encoding="ascii").splitlines():
            key, _, count = line.split()
            lemma, _, sense = key.partition("%")
            found.uses[_SENSE_TYPES[sense[0]], lemma] += int(count)
        return found

    def synonyms(self, lemma: Lemma) -> dict[str, int]:
        """Other words for a lemma's first meanings, with the meaning's place among either's meanings, whichever is later."""
        part, word = lemma
        found: dict[str, int] = {}
        for number, synset in enumerate(self.senses[lemma][:MAX_RANK], start=1):
            for other in self.members[part, synset]:
                rank = max(number, self.senses[part, other].index(synset) + 1)
                if other != word and rank <= MAX_RANK and other not in found:
                    found[other] = rank
        return found


def table(wordnet: WordNet) -> pl.DataFrame:
    """The rows of the file."""
    lemmas = [lemma for lemma in wordnet.senses if _PLAIN.fullmatch(lemma[1])]
    forms = {lemma: _forms(lemma) for lemma in lemmas}
    readings: defaultdict[str, defaultdict[Lemma, set[str]]] = defaultdict(lambda: defaultdict(set))
    for lemma, by_tag in forms.items():
        for tag, words in by_tag.items():
            for word in words:
                readings[word][lemma].add(tag)
    rows = []
    for word, of_word in sorted(readings.items()):
        likely = None if word in FUNCTION_WORDS else _likely(of_word, wordnet.uses)
        tags = of_word[likely] if likely else set()
        others = dict(_inflected(wordnet.synonyms(likely), likely[0], tags, forms)) if likely else {}
        others.pop(word, None)
        ranked = sorted(others.items(), key=lambda other: (other[1], other[0]))
        synonyms, ranks = " ".join(other for other, _ in ranked), "".join(str(rank) for _, rank in ranked)
        is_common = word not in wordnet.names or ("adj", word) in of_word
        rows.append((word, min(tags, default=None), synonyms, ranks, is_common))
    schema = {"word": pl.String, "tag": pl.String, "synonyms": pl.String, "ranks": pl.String, "is_common": pl.Boolean}
    return pl.DataFrame(rows, schema, orient="row")


def _lines(path: Path) -> Iterator[str]:
    """A file's lines after its licence, which is indented."""
    with path.open(encoding="ascii") as file:
        yield from itertools.dropwhile(lambda line: line.startswith(" "), file)


def _name(word: str, is_person: bool) -> str:
    """The name that a word is, in lower case: itself, or a person's first name. Empty if it is none."""
    parts = word.split("_")
    is_name = all(part[:1].isupper() for part in parts) and (len(parts) == 1 or is_person)
    return parts[0].lower() if is_name else ""


def _forms(lemma: Lemma) -> dict[str, tuple[str, ...]]:
    """A lemma's forms by tag, the usual one first. Forms that lemminflect would have to guess are left out."""
    import lemminflect

    part, word = lemma
    return {
        tag: (word,) if tag in BASE_TAGS else tuple(lemminflect.getInflection(word, tag, inflect_oov=False) or ())
        for tag in TAGS[part]
    }


def _likely(readings: Iterable[Lemma], uses: Mapping[Lemma, int]) -> Lemma | None:
    """The one reading that nearly all uses of a form have; None if there is none."""
    counts = {lemma: uses.get(lemma, 0) for lemma in readings}
    best = max(counts, key=lambda lemma: counts[lemma])
    total = sum(counts.values())
    is_likely = len(counts) == 1 or (total > 0 and counts[best] >= LIKELY * total)
    return best if is_likely else None


def _inflected(
    lemmas: Mapping[str, int], part: str, tags: set[str], forms: Mapping[Lemma, Mapping[str, tuple[str, ...]]]
) -> Iterator[tuple[str, int]]:
    """Lemmas in the form that a word has; if it may have several ("walked"), those whose forms agree in all of them."""
    for lemma, rank in lemmas.items():
        found = {forms[part, lemma][tag][:1] for tag in tags}
        if len(found) == 1 and (form := found.pop()) and _PLAIN.fullmatch(form[0]):
            yield form[0], rank


if __name__ == "__main__":
    made = table(WordNet.read(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    made.write_parquet(SYNONYMS, compression="zstd", compression_level=19, statistics=False)
    print(f"{SYNONYMS}: {made.height:,} forms, {(made['synonyms'] != '').sum():,} with synonyms")
