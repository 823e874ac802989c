"""A text as words and separators, with the words that may change.

Names, numbers, addresses and labelled spans may not change; `parse` documents how it recognises them. A draft changes
words in place, so that every piece keeps its number, and spans are located by their first and last piece.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.text.lexicon import lexicon, word_set

# Letters, marks, digits, underscores and symbols are words; joiners (U+200B to U+200F) and variation selectors too, which
# scripts and emoji need. ASCII's and Unicode's punctuation is not.
_BETWEEN = r"\s!-/:-@\[-^`{-~¡§«·»¿‐-‧‰-⁞⸀-⹿\u3000-\u3004\u3008-\u303f！-／：-＠［-｀｛-･"
_WORD = re.compile(
    rf"((?:https?://|www\.)\S+|[\w.+-]{{1,64}}@[\w-]{{1,64}}(?:\.[\w-]+)+|[@#][^{_BETWEEN}]+|[^{_BETWEEN}]+(?:['’-][^{_BETWEEN}]+)*)"
)
_JOINTS = str.maketrans("", "", "'’-")
_STARTS = re.compile('[.!?…:\n"“”„«(\\[。！？：「]')
"""After one of these a capital may be the sentence's and not a name's."""
_IN_NAMES = word_set("of the de del della da di do dos van von der den la le du and & y e i")
_JOINING_CLAUSES = word_set(
    "and but or nor so yet because while when where although though if unless until since that which who whom whose"
)

Span = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """A parsed text. pieces: separators at even places, words at odd ones.

    free: places of words that may change, in order. clause: for each of them the number of its clause, -1 for a word that
    joins clauses. starts: free places whose capital is only due to the start of a sentence. closed: even places that a span
    covers at least partly.
    """

    pieces: tuple[str, ...]
    free: tuple[int, ...]
    clause: tuple[int, ...]
    starts: frozenset[int]
    closed: frozenset[int]
    spans: tuple[Span, ...]

    def is_free(self, place: int) -> bool:
        """Whether the word at a place may change; False if there is no word."""
        at = bisect_left(self.free, place)
        return at < len(self.free) and self.free[at] == place


@dataclass
class Draft:
    """A draft of a variant: `pieces` change, their number does not. A deleted word is an empty piece."""

    words: Words
    pieces: list[str]

    @classmethod
    def of(cls, words: Words) -> "Draft":
        """A draft without changes."""
        return cls(words, list(words.pieces))

    @property
    def text(self) -> str:
        """The current text."""
        return "".join(self.pieces)

    def put(self, place: int, word: str) -> None:
        """Replace a word; the new word takes the case of the old one."""
        self.pieces[place] = cased(word, self.pieces[place])

    def spans(self) -> list[Span]:
        """The labelled spans at their new places, with the same texts, since their pieces never change."""
        if not self.words.spans:
            return []
        before, after = _offsets(self.words.pieces), _offsets(self.pieces)

        def moved(at: int) -> int:
            piece = bisect_right(before, at) - 1
            return after[piece] + at - before[piece]

        return [{**span, "start": moved(span["start"]), "end": moved(span["end"] - 1) + 1} for span in self.words.spans]


def of_labels(text: str, labels: Mapping[str, Any]) -> Words:
    """A text with the spans of its labels, if it has any. Raises UnfitParent(bad_labels)."""
    entries = labels.get("spans")
    spans = () if entries is None else entries
    if not isinstance(spans, list | tuple) or not all(isinstance(span, Mapping) for span in spans):
        raise UnfitParent("bad_labels", "spans are a list of objects with start, end, label and text")
    return parse(text, spans)


def parse(text: str, spans: Iterable[Mapping[str, Any]] = ()) -> Words:
    """Parse a text.

    Protected words: those that a span covers partly; @names, #tags, addresses; words with characters other than letters,
    hyphens and apostrophes; capitalised words and the particles between two of them ("Isle of Man"). A capital at a
    sentence's start is no name if the next word has none and the lexicon has the word, not as a name.
    spans: start and end in characters, label, text.  Raises UnfitParent for spans that are not the text's.
    """
    pieces = tuple(_WORD.split(text))
    true = tuple(_checked(span, text) for span in spans)
    covered = _covered(pieces, true) if true else frozenset()
    names, starts = _names(pieces)
    free, clause = [], []
    number = 0
    for place in range(1, len(pieces), 2):
        word = pieces[place]
        separator = pieces[place - 1]
        if separator != " " and (not separator.isspace() or "\n" in separator):
            number += 1
        joins = word in _JOINING_CLAUSES
        number += joins
        if place not in names and place not in covered and (word.isalpha() or word.translate(_JOINTS).isalpha()):
            free.append(place)
            clause.append(-1 if joins else number)
    closed = frozenset(place for place in covered if place % 2 == 0)
    return Words(pieces, tuple(free), tuple(clause), frozenset(starts).intersection(free), closed, true)


def cased(word: str, model: str) -> str:
    """A lower-case word in another's case."""
    if model[:1].isupper():
        return word.upper() if len(model) > 1 and model.isupper() else word[:1].upper() + word[1:]
    return word


def _names(pieces: tuple[str, ...]) -> tuple[set[int], set[int]]:
    """Places of names or their parts, and of words whose capital is only due to the start of a sentence."""
    capitals = [place for place in range(1, len(pieces), 2) if pieces[place][0].isupper()]
    names, starts = set(capitals), set[int]()
    for place in capitals:
        begins = place == 1 or _STARTS.search(pieces[place - 1])
        is_single = place + 2 not in names or pieces[place + 1] not in (" ", "-")
        if begins and is_single and pieces[place].lower().replace("’", "'") in lexicon().common:
            starts.add(place)
    names -= starts
    for place in capitals:
        particles: list[int] = []
        for after in range(place + 2, min(place + 8, len(pieces)), 2):
            if after in names:
                names.update(particles)
                break
            if pieces[after] not in _IN_NAMES or pieces[after - 1] != " ":
                break
            particles.append(after)
    return names, starts - names


def _checked(span: Mapping[str, Any], text: str) -> Span:
    start, end = span.get("start"), span.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise UnfitParent("bad_labels", f"a span from {start!r} to {end!r} is not within {len(text)} characters")
    if span.get("text", text[start:end]) != text[start:end]:
        raise UnfitParent("bad_labels", f"a span is labelled {span['text']!r}, and the text there is {text[start:end]!r}")
    return {**span, "text": text[start:end]}


def _covered(pieces: tuple[str, ...], spans: Iterable[Span]) -> frozenset[int]:
    """Places of pieces that share a character with a span."""
    offsets = _offsets(pieces)
    places: set[int] = set()
    for span in spans:
        first, last = (bisect_right(offsets, at) - 1 for at in (span["start"], span["end"] - 1))
        places.update(range(first, last + 1))
    return frozenset(places)


def _offsets(pieces: Iterable[str]) -> list[int]:
    """The start of each piece. Among pieces with one start, a search from the right finds the one that is not empty."""
    return list(accumulate(map(len, pieces), initial=0))[:-1]
