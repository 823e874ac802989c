"""The operations on texts, in place on a draft: synonyms, reordering, deletion, typing errors.

Each takes (draft, random) and its parameters. Each changes at least one word if possible, and no protected one.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pipeline_assets.variants.operations import Operations, drawn
from pipeline_assets.variants.text.lexicon import lexicon
from pipeline_assets.variants.text.words import Draft, cased

TEXT = Operations("text")

_Share = Annotated[float, Field(gt=0, le=1)]
Share = _Share | tuple[_Share, _Share]
"""Of the words that could be changed; one word at least is."""

_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """The neighbours of each letter on a QWERTY keyboard, whose rows are half a key apart."""
    neighbours = {}
    for row, keys in enumerate(_KEY_ROWS):
        above = _KEY_ROWS[row - 1] if row else ""
        below = _KEY_ROWS[row + 1] if row + 1 < len(_KEY_ROWS) else ""
        for at, key in enumerate(keys):
            adjacent = keys[max(at - 1, 0) : at] + keys[at + 1 : at + 2]
            neighbours[key] = adjacent + above[at : at + 2] + below[max(at - 1, 0) : at + 1]
    return neighbours


NEIGHBOURS = _neighbours()


@TEXT.operation(version=2)
def synonyms(
    draft: Draft, random: np.random.Generator, *, share: Share = (0.3, 0.6), senses: Annotated[int, Field(ge=1, le=3)] = 1
) -> None:
    """Replace words by synonyms of the same part of speech, in the same form.

    senses: the shared meaning is among this many first ones of both words. "a" and "an" are adapted.
    """
    synonyms_of = lexicon().synonyms
    choices = {
        place: alternatives for place in _left(draft) if (alternatives := synonyms_of(draft.pieces[place].lower(), senses))
    }
    for place, draw in _picked(list(choices), share, random):
        alternatives = choices[place]
        draft.put(place, alternatives[int(draw * len(alternatives))])
        _fit_article(draft, place)


@TEXT.operation()
def reorder(
    draft: Draft, random: np.random.Generator, *, share: Share = (0.1, 0.3), distance: Annotated[int, Field(ge=1)] = 3
) -> None:
    """Exchange words with others of their clause, at most `distance` words away. A word moves at most once."""
    clauses: dict[int, list[int]] = {}
    for place, clause in zip(draft.words.free, draft.words.clause, strict=True):
        if clause >= 0 and draft.pieces[place]:
            clauses.setdefault(clause, []).append(place)
    slots = {place: (members, at) for members in clauses.values() if len(members) > 1 for at, place in enumerate(members)}
    for place, draw in _picked(list(slots), share, random):
        if place in slots:
            members, at = slots.pop(place)
            near = [p for p in members[max(at - distance, 0) : at + 1 + distance] if p in slots]
            if near:
                partner = near[int(draw * len(near))]
                del slots[partner]  # a word that moved twice could return to its place
                _exchange(draft, place, partner)


@TEXT.operation()
def delete(draft: Draft, random: np.random.Generator, *, share: Share = (0.1, 0.3)) -> None:
    """Delete words. At least one word of the text stays, and so does the only word of a clause."""
    words = sum(map(bool, draft.pieces[1::2]))
    picked = _picked(_left(draft), share, random)[: max(words - 1, 0)]
    for place in sorted(place for place, _ in picked):
        _leave_out(draft, place)


@TEXT.operation()
def typos(
    draft: Draft,
    random: np.random.Generator,
    *,
    share: Share = (0.1, 0.3),
    kinds: Annotated[tuple[Literal["neighbour", "swap", "drop"], ...], Field(min_length=1)] = ("neighbour", "swap", "drop"),
) -> None:
    """Mistype words of three letters or more: a neighbouring key, two letters swapped, or one left out.

    The first letter stays. At most one mistake per word.
    """
    places = [place for place in _left(draft) if len(draft.pieces[place]) > 2]
    picked = _picked(places, share, random)
    draws = random.random(2 * len(picked)).tolist()
    for number, (place, draw) in enumerate(picked):
        word = draft.pieces[place]
        at = 1 + int(draw * (len(word) - 1))
        draft.pieces[place] = _mistyped(word, at, kinds[int(draws[2 * number] * len(kinds))], draws[2 * number + 1])


def _left(draft: Draft) -> list[int]:
    """Places of words that may change and are not deleted."""
    pieces = draft.pieces
    return [place for place in draft.words.free if pieces[place]]


def _picked(places: list[int], share: Share, random: np.random.Generator) -> list[tuple[int, float]]:
    """A random share of the places in random order, each with a random number in [0, 1)."""
    count = len(places)
    if not count:
        return []
    count_picked = max(1, round(drawn(share, random) * count))
    draws = random.random(2 * count).tolist()
    order = sorted(range(count), key=draws.__getitem__)
    return [(places[at], draws[count + at]) for at in order[:count_picked]]


def _fit_article(draft: Draft, place: int) -> None:
    """Adapt the article "a" or "an" before a word, if it may change."""
    if not draft.words.is_free(place - 2) or draft.pieces[place - 1] != " ":
        return
    article, word = draft.pieces[place - 2], draft.pieces[place].lower()
    if article.lower() in ("a", "an"):
        draft.pieces[place - 2] = ("A" if article[0] == "A" else "a") + ("n" if lexicon().takes_an(word) else "")


def _exchange(draft: Draft, first_place: int, second_place: int) -> None:
    """Exchange words; a sentence's capital stays at its start."""
    starts, pieces = draft.words.starts, draft.pieces
    first, second = pieces[first_place], pieces[second_place]
    if first_place in starts or second_place in starts:
        first, second = (_lowered(word) for word in (first, second))
        first, second = (
            (cased(first, "A") if second_place in starts else first),
            (cased(second, "A") if first_place in starts else second),
        )
    pieces[first_place], pieces[second_place] = second, first


def _lowered(word: str) -> str:
    return word[:1].lower() + word[1:]


def _leave_out(draft: Draft, place: int) -> None:
    """Delete a word and one of the spaces around it. A word without such a space (the only one of a clause) stays."""
    pieces, closed = draft.pieces, draft.words.closed
    before, after = place - 1, place + 1
    while not pieces[before] and before > 0 and not pieces[before - 1]:
        before -= 2
    if after not in closed and pieces[after][:1].isspace():
        pieces[after] = pieces[after][1:]
    elif before not in closed and pieces[before].isspace():
        pieces[before] = pieces[before][:-1]
    else:
        return
    if pieces[place][0].isupper() and draft.words.is_free(place + 2):
        pieces[place + 2] = cased(pieces[place + 2], "A")
    pieces[place] = ""


def _mistyped(word: str, at: int, kind: str, draw: float) -> str:
    """A word with one mistake at a letter that is not its first."""
    letter = word[at]
    if kind == "neighbour" and (keys := NEIGHBOURS.get(letter.lower())):
        return word[:at] + cased(keys[int(draw * len(keys))], letter) + word[at + 1 :]
    if kind == "swap":
        left = min(at, len(word) - 2)
        if word[left] != word[left + 1]:
            return word[:left] + word[left + 1] + word[left] + word[left + 2 :]
    return word[:at] + word[at + 1 :]
