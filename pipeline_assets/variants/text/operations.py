"""What can be done to a text, in place, on a draft: other words, another order, fewer words, mistakes.

Each takes (draft, random) and its parameters. Each changes one word at least where it can, and none that is protected.
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
_CONSONANT_SOUNDS = ("eu", "uni", "use", "usu", "uti", "one", "once")
_VOWEL_SOUNDS = ("hour", "honest", "honor", "honour", "heir")


def _neighbours() -> dict[str, str]:
    """Letters beside each on a QWERTY keyboard, whose rows are half a key apart."""
    found = {}
    for row, keys in enumerate(_KEY_ROWS):
        above = _KEY_ROWS[row - 1] if row else ""
        below = _KEY_ROWS[row + 1] if row + 1 < len(_KEY_ROWS) else ""
        for at, key in enumerate(keys):
            beside = keys[max(at - 1, 0) : at] + keys[at + 1 : at + 2]
            found[key] = beside + above[at : at + 2] + below[max(at - 1, 0) : at + 1]
    return found


NEIGHBOURS = _neighbours()


@TEXT.operation()
def synonyms(
    draft: Draft, random: np.random.Generator, *, share: Share = (0.3, 0.6), senses: Annotated[int, Field(ge=1, le=3)] = 1
) -> None:
    """Put synonyms of the same part of speech, in the same form, in the place of words.

    senses: the meaning that two words share is among this many first ones of both. "a" and "an" follow.
    """
    known = lexicon().synonyms
    choices = {place: others for place in _left(draft) if (others := known(draft.pieces[place].lower(), senses))}
    for place, draw in _picked(list(choices), share, random):
        others = choices[place]
        draft.put(place, others[int(draw * len(others))])
        _fit_article(draft, place)


@TEXT.operation()
def reorder(
    draft: Draft, random: np.random.Generator, *, share: Share = (0.1, 0.3), distance: Annotated[int, Field(ge=1)] = 3
) -> None:
    """Exchange words with others of their clause, at most `distance` of its words away. A word moves once."""
    clauses: dict[int, list[int]] = {}
    for place, clause in zip(draft.words.free, draft.words.clause, strict=True):
        if clause >= 0 and draft.pieces[place]:
            clauses.setdefault(clause, []).append(place)
    where = {place: (members, at) for members in clauses.values() if len(members) > 1 for at, place in enumerate(members)}
    for place, draw in _picked(list(where), share, random):
        if place in where:
            members, at = where.pop(place)
            near = [p for p in members[max(at - distance, 0) : at + 1 + distance] if p in where]
            if near:
                other = near[int(draw * len(near))]
                del where[other]  # a word that moved twice might be back where it was
                _exchange(draft, place, other)


@TEXT.operation()
def delete(draft: Draft, random: np.random.Generator, *, share: Share = (0.1, 0.3)) -> None:
    """Leave words out. One word of the text stays at least, and so does a word that is a clause of its own."""
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

    The first letter stays. One mistake a word.
    """
    places = [place for place in _left(draft) if len(draft.pieces[place]) > 2]
    picked = _picked(places, share, random)
    draws = random.random(2 * len(picked)).tolist()
    for number, (place, draw) in enumerate(picked):
        word = draft.pieces[place]
        at = 1 + int(draw * (len(word) - 1))
        draft.pieces[place] = _mistyped(word, at, kinds[int(draws[2 * number] * len(kinds))], draws[2 * number + 1])


def _left(draft: Draft) -> list[int]:
    """Places of words that may change and are still there."""
    pieces = draft.pieces
    return [place for place in draft.words.free if pieces[place]]


def _picked(places: list[int], share: Share, random: np.random.Generator) -> list[tuple[int, float]]:
    """A share of the places, in an order drawn too, each with a number in [0, 1) for what is to be done there."""
    count = len(places)
    if not count:
        return []
    wanted = max(1, round(drawn(share, random) * count))
    draws = random.random(2 * count).tolist()
    order = sorted(range(count), key=draws.__getitem__)
    return [(places[at], draws[count + at]) for at in order[:wanted]]


def _fit_article(draft: Draft, place: int) -> None:
    """Make "a" or "an" of the article before a word, if there is one that may change."""
    if not draft.words.is_free(place - 2) or draft.pieces[place - 1] != " ":
        return
    article, word = draft.pieces[place - 2], draft.pieces[place].lower()
    if article.lower() in ("a", "an"):
        vowel = word.startswith(_VOWEL_SOUNDS) or (word[0] in "aeiou" and not word.startswith(_CONSONANT_SOUNDS))
        draft.pieces[place - 2] = ("A" if article[0] == "A" else "a") + ("n" if vowel else "")


def _exchange(draft: Draft, one: int, other: int) -> None:
    """Words change places; a sentence's capital stays at its start."""
    starts, pieces = draft.words.starts, draft.pieces
    first, second = pieces[one], pieces[other]
    if one in starts or other in starts:
        first, second = (_lowered(word) for word in (first, second))
        first, second = (cased(first, "A") if other in starts else first), (cased(second, "A") if one in starts else second)
    pieces[one], pieces[other] = second, first


def _lowered(word: str) -> str:
    return word[:1].lower() + word[1:]


def _leave_out(draft: Draft, place: int) -> None:
    """Empty a word and one of the spaces around it. Where no space can go (it is a clause of its own), the word stays."""
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
