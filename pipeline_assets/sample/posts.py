"""Texts and keys of the simulated posts: safe file names, titles, places, JSON details. No truth of views here."""

import json
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

MAX_NAME_BYTES = 120
MAX_EXTENSION_BYTES = 10
PLAIN = " .,()+=@~-_"
"""Punctuation allowed in keys."""

_OPENINGS = ["Morning", "Quiet", "Golden", "First", "Rainy", "Tiny", "Winter", "Blue hour:", "My", "Żółte", "Café"]
_SUBJECTS = ["harbour", "street", "garden", "window", "market", "cat", "bridge", "sky", "stairs", "夜", "λίμνη"]
_ENDINGS = ["", "", "", " at dusk", " again", " in São Paulo", " before breakfast", " ☀", " 📷", "…", " für Zoë"]
_PLACES = ["Zürich", "São Paulo", "Kraków", "東京", "Porto", "Reykjavík", "Nairobi", "Leeds", "Québec", "मुंबई"]
_TAGS = ["street", "nature", "food", "pets", "travel", "film", "macro", "sky", "été", "noir"]
_DEVICES = ["phone", "tablet", "compact camera", "mirrorless camera", "film scanner"]


def safe_names(names: Iterable[str]) -> list[str]:
    """File names that are safe as the last part of a key, unique (whatever the case), and still recognisable.

    Letters and digits of any script and `PLAIN` stay; all else becomes `_`, so a folder's slash can't climb and a
    percent sign can't decode. No dot or space comes first or last and no two dots in a row; at most `MAX_NAME_BYTES`
    of UTF-8, the extension kept. A repeated name gets a number before its extension.
    """
    used: set[str] = set()
    safe = []
    for name in names:
        stem, extension = _safe_parts(name)
        candidate, number = stem + extension, 2
        while candidate.casefold() in used:
            candidate, number = f"{stem}-{number}{extension}", number + 1
        used.add(candidate.casefold())
        safe.append(candidate)
    return safe


def _safe_parts(name: str) -> tuple[str, str]:
    """Stem and extension (with its dot, or empty)."""
    cleaned = "".join(c if c in PLAIN or unicodedata.category(c)[0] in "LMN" else "_" for c in _composed(name))
    words = [word for word in cleaned.split(".") if word.strip()]
    extension = ""
    if len(words) > 1 and len(words[-1].strip().encode()) <= MAX_EXTENSION_BYTES:
        extension = "." + words.pop().strip()
    stem = ".".join(words).encode()[: MAX_NAME_BYTES - MAX_EXTENSION_BYTES - 8].decode(errors="ignore")
    return stem.strip(" .") or "photo", extension


def _composed(name: str) -> str:
    # File names that are not UTF-8 have lone surrogates in Python, which keys can't have.
    return unicodedata.normalize("NFC", name.encode(errors="replace").decode())


def titles(count: int, rng: np.random.Generator) -> list[str]:
    """Short titles from a small grammar: opening, subject, ending; some not ASCII."""
    picks = (rng.integers(0, len(words), count) for words in (_OPENINGS, _SUBJECTS, _ENDINGS))
    return [f"{_OPENINGS[a]} {_SUBJECTS[b]}{_ENDINGS[c]}" for a, b, c in zip(*picks, strict=True)]


def spans(title: str) -> list[dict[str, Any]]:
    """The subject of a simulated title, as a labelled span."""
    subject = max((word for word in _SUBJECTS if f" {word}" in title), key=len, default="")
    start = title.find(f" {subject}") + 1
    return [{"start": start, "end": start + len(subject), "label": "subject", "text": subject}] if subject else []


def locations(count: int, rng: np.random.Generator) -> list[str | None]:
    """Places as users type them; null for about two in five."""
    picks, has_place = rng.integers(0, len(_PLACES), count), rng.random(count) < 0.6
    return [_PLACES[pick] if is_given else None for pick, is_given in zip(picks, has_place, strict=True)]


def details(followers: Iterable[int], rng: np.random.Generator) -> list[str]:
    """The JSONB `details` of each post as canonical JSON.

    `followers` as they were at posting, tags, device, and a `_session` key: a leading `_` marks data that must not
    leave the application's database.
    """
    rows = []
    for count in followers:
        tags = rng.choice(_TAGS, size=int(rng.integers(0, 4)), replace=False).tolist()
        row = {
            "followers": int(count),
            "tags": sorted(tags),
            "device": _DEVICES[rng.integers(0, len(_DEVICES))],
            "_session": rng.bytes(6).hex(),
        }
        rows.append(json.dumps(row, ensure_ascii=False, sort_keys=True))
    return rows
