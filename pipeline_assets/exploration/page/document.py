"""Writes the page: HTML, style, script and data in one text, which loads nothing. Pure.

Values come from uploaders. They are JSON and base64 in blocks that no browser runs, and the script shows them as text. The
page's own policy allows its style and its script by their digests, and no request.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_assets.exploration.page.columns import array_text, encoded
from pipeline_assets.exploration.page.points import Points
from pipeline_assets.runtime.visible import visible

SCRIPTS = ("data.js", "filters.js", "conditions.js", "drawing.js", "map.js", "charts.js", "panels.js", "page.js")
"""The script's parts, in order."""
_FOLDER = Path(__file__).parent / "browser"


@dataclass(frozen=True)
class Variant:
    """A variant beside its parent. parent: sha256 of the photo. thumbnail: its picture."""

    parent: str
    recipe: str
    thumbnail: bytes


@dataclass(frozen=True)
class About:
    """What the page says of itself.

    table: what a selection's condition selects from, and table_columns: what it may name. notes: sentences. condition: SQL
    that holds of all photos of the page, and maybe not of others; None if it may not be told, so that a selection is ids.
    served: other thumbnails are asked of the server.
    """

    title: str
    table: str = "training_table"
    table_columns: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    condition: str | None = ""
    served: bool = False


def page(photos: Points, about: About, thumbnails: Mapping[str, bytes], variants: Sequence[Variant] = ()) -> str:
    """The page's text. thumbnails: JPEGs by sha256."""
    columns = encoded(photos.rows.drop("photo_id"), about.table_columns)
    ids = photos.rows["photo_id"].to_numpy()
    id_type = "i4" if ids.min(initial=0) >= -(2**31) and ids.max(initial=0) < 2**31 else "i8"
    of_photos = (ids.astype(f"<{id_type}"), photos.x, photos.y, photos.neighbours)
    blocks = [*columns.arrays, *map(array_text, of_photos)]
    rows_of: dict[str, list[int]] = {}
    for row, sha256 in enumerate(photos.sha256):
        rows_of.setdefault(sha256, []).append(row)
    pictures = _Pictures()
    shown = [(row, pictures.add(data)) for sha256, data in thumbnails.items() for row in rows_of.get(sha256, ())]
    header = {
        "title": about.title,
        "notes": list(about.notes),
        "condition": about.condition,
        "id_type": id_type,
        "table": about.table,
        "rows": photos.rows.height,
        "columns": columns.about,
        "axes": photos.axes,
        "neighbours": photos.neighbours.shape[1],
        "lengths": [len(block) for block in blocks],
        "thumbnails": sorted(shown),
        "variants": [
            [rows_of[one.parent][0], one.recipe, pictures.add(one.thumbnail)] for one in variants if one.parent in rows_of
        ],
        "served": photos.sha256 if about.served else None,
    }
    header["pictures"] = pictures.lengths
    style = _text("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(map(_text, SCRIPTS)) + "\n})();"
    parts = {
        "POLICY": policy(style, script, is_served=about.served),
        "TITLE": escape(visible(about.title)),
        "STYLE": style,
        "SCRIPT": script,
        "HEADER": _json(header),
        "ARRAYS": "".join(blocks),
        "PICTURES": "".join(pictures.texts),
    }
    head, *rest = _text("page.html").split("{{")
    # One pass: no value is searched for the names of others.
    return head + "".join(parts[name] + text for name, text in (piece.split("}}", 1) for piece in rest))


def policy_of(text: str) -> str:
    """The policy that a page of `page` names: a server sends it, too."""
    return text.split('http-equiv="Content-Security-Policy" content="', 1)[1].split('"', 1)[0]


def policy(style: str, script: str, *, is_served: bool) -> str:
    """The Content-Security-Policy: this style, this script, pictures of the page, and nothing else."""
    own = " 'self'" if is_served else ""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data: blob:{own}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON that ends no block of a page, whatever is in its texts."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value)} is no value of JSON")


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


class _Pictures:
    """Pictures, each content once, in base64 one behind the other."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lengths: list[int] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, data: bytes) -> int:
        """The picture's number."""
        if data not in self._numbers:
            self._numbers[data] = len(self.texts)
            self.texts.append(base64.b64encode(data).decode("ascii"))
            self.lengths.append(len(self.texts[-1]))
        return self._numbers[data]
