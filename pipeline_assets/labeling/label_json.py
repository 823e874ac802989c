"""Labels as JSON: the one strict parser for all sources, and the one canonical form for storage.

What lives here: which JSON is valid for labels. What does not: whether a box lies on its photo (`annotations.py`), and what
a box, a segment or a span is (`boxes.py` and its neighbours).
"""

import json
from collections.abc import Iterable
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.runtime import strict_json

MAX_CHARACTERS = 1 << 20
"""Limit of the JSON of one item's labels."""
MAX_DEPTH = 32
"""Limit of nesting; a polygon of a mask is at depth 5."""
MAX_NUMBER = 2.0**63
"""Bound on absolute values: numbers fit 64 bits, and arithmetic with them stays finite."""

_TOO_DEEP = f"labels are nested more than {MAX_DEPTH} deep"
Labels = dict[str, Any]


def parse(text: str) -> Labels:
    """Parse labels. Raises UnfitParent(too_large) or UnfitParent(bad_labels) with the fault.

    They are an object of at most MAX_CHARACTERS, at most MAX_DEPTH deep, with finite numbers below MAX_NUMBER, unique names,
    and no text with a NUL or half of a surrogate pair, which no database and no format can store.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnfitParent("too_large", f"{len(text):,} characters of JSON; at most {MAX_CHARACTERS:,} are read")
    try:
        labels = strict_json.loads(text, MAX_DEPTH)
    except strict_json.TooDeep:
        raise UnfitParent("bad_labels", _TOO_DEEP) from None
    except strict_json.BadJson as error:
        raise UnfitParent("bad_labels", f"labels are no JSON: {error}") from None
    return checked(labels)


def checked(labels: Any) -> Labels:
    """Labels that were parsed elsewhere, if they are valid. Raises UnfitParent(bad_labels)."""
    if not isinstance(labels, dict):
        raise UnfitParent("bad_labels", 'labels are an object such as {"boxes": [...]}')
    if problem := fault(labels):
        raise UnfitParent("bad_labels", problem)
    return labels


def dump(labels: Any) -> str:
    """Labels as canonical JSON: sorted names, no spaces, ASCII. Raises UnfitParent for invalid labels."""
    text = json.dumps(checked(labels), sort_keys=True, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_CHARACTERS:
        raise UnfitParent("too_large", f"{len(text):,} characters of JSON; at most {MAX_CHARACTERS:,} are kept")
    return text


def fault(value: Any) -> str | None:
    """Why a value, or a part of it, is invalid in labels, as a sentence; None if it is valid."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        for item in level:
            if problem := _fault_of_one(item):
                return problem
        level = [part for item in level for part in _parts(item)]
        if not level:
            return None
    return _TOO_DEEP


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list | tuple) else ()


def _fault_of_one(item: Any) -> str | None:
    """The fault of a value itself, without its parts."""
    if isinstance(item, str):
        return _text_fault(item)
    if isinstance(item, dict):
        return next(filter(None, map(_name_fault, item)), None)
    if item is None or isinstance(item, bool | list | tuple):
        return None
    if not isinstance(item, int | float):
        return f"a value is a {type(item).__name__}, which JSON does not have"
    return None if abs(item) < MAX_NUMBER else "a number is not finite, or 2^63 or more"  # NaN is not below either


def _name_fault(name: Any) -> str | None:
    return _text_fault(name) if isinstance(name, str) else f"the name {name!r:.60} is no text"


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "a text holds the character NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a text holds half of a surrogate pair"
    return None
