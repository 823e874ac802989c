"""One person by all that their data are found by, and how rows and lines of text are recognised. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from pipeline_assets.framework.personal import Mark, Sort

SHORTEST_WORD = 8
"""Characters: shorter names and titles stand in texts of anybody."""
DIRECT: tuple[Sort, ...] = ("user", "photo", "key", "pseudonym", "task")
"""What leads to one person. A hash leads to a content, which several people may have uploaded."""
FEEDBACK = "feedback"
"""The source under which users have their pseudonyms (`labeling/feedback`)."""
_TEXT_COLUMN = "text"


@dataclass(frozen=True)
class Person:
    """user_id: as in the application. texts: titles and places as the person wrote them.

    hashes: sha256 in hex of uploads, of titles and of what was made of them, and ids of variants.
    """

    user_id: int
    names: frozenset[str] = frozenset()
    photo_ids: frozenset[int] = frozenset()
    keys: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    pseudonyms: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()

    def values(self, sort: Sort) -> list[Any]:
        """The values of a sort of column that are this person's."""
        by_sort: Mapping[str, Iterable[Any]] = {
            "user": {self.user_id},
            "photo": self.photo_ids,
            "key": self.keys,
            "hash": self.hashes,
            "pseudonym": self.pseudonyms,
            "task": self.tasks,
        }
        return sorted(by_sort.get(sort, ()))

    @cached_property
    def own_words(self) -> list[str]:
        """What is nobody else's: keys, pseudonyms, questions about their items."""
        return sorted({*self.keys, *self.pseudonyms, *self.tasks})

    @cached_property
    def words(self) -> list[str]:
        """All texts by which this person is found in a line: also hashes, names, titles and places that are long enough."""
        typed = {word for word in (*self.names, *self.texts) if len(word) >= SHORTEST_WORD}
        return sorted({*self.own_words, *self.hashes, *typed, *(_in_json(word) for word in typed)})

    @cached_property
    def ids(self) -> str:
        """A regular expression for the person's id as a field of JSON, in JSON in JSON too, and as a part of a key."""
        return rf'\buser_id\\*"?\s*[:=]\s*\\*"?{self.user_id}(?:[^0-9.]|$)|uploads/\d{{4}}-\d\d-\d\d/{self.user_id}/'


def _in_json(word: str) -> str:
    return json.dumps(word)[1:-1]


def found_in(lines: pl.Series, person: Person) -> pl.Series:
    """Which of these lines of text name the person, in any way."""
    frame = lines.fill_null("").to_frame(_TEXT_COLUMN)
    return frame.select(_named(pl.col(_TEXT_COLUMN), person))[_TEXT_COLUMN]


_PHOTO = r'\bphoto_id\\*"?\s*[:=]\s*\\*"?(\d{1,18})'


def _named(text: pl.Expr, person: Person) -> pl.Expr:
    """Whether a text names the person."""
    found = text.str.contains(person.ids)
    if person.words:
        found = found | text.str.contains_any(person.words)
    if person.photo_ids:
        photo = text.str.extract(_PHOTO, 1).cast(pl.Int64, strict=False)
        found = found | photo.is_in(person.values("photo")).fill_null(value=False)
    return found


@dataclass(frozen=True)
class Rows:
    """own: rows of the person; mentions: number of other people's rows that name them."""

    own: pl.DataFrame
    mentions: int


def rows_of(frame: pl.DataFrame, marks: Mapping[str, Mark], person: Person) -> Rows:
    """The person's rows of a table, and how many others name them.

    A row is theirs if a subject column that leads to a person has their value. Only in tables without such a column it is
    also by the content's hash, and by what its texts name.
    """
    marked = {name: mark for name, mark in marks.items() if name in frame.columns and mark.personal}
    direct = [name for name, mark in marked.items() if mark.subject and mark.personal in DIRECT]
    own = pl.lit(value=False)
    for name in direct or [name for name, mark in marked.items() if mark.subject or mark.content]:
        own = own | _holds(name, marked[name], frame.schema[name], person)
    named = pl.lit(value=False)
    for name, mark in marked.items():
        named = named | _holds(name, mark, frame.schema[name], person)
    judged = frame.select(own=own, named=named)
    return Rows(frame.filter(judged["own"]), int((judged["named"] & ~judged["own"]).sum()))


def _holds(name: str, mark: Mark, dtype: pl.DataType, person: Person) -> pl.Expr:
    """Whether a column's value is the person's, or names them."""
    column = pl.col(name)
    if mark.content and dtype == pl.String:
        return _named(column.fill_null(""), person)
    values = person.values(mark.personal) if mark.personal else []
    if not values:
        return pl.lit(value=False)
    if isinstance(dtype, pl.List):
        return column.list.eval(pl.element().is_in(values)).list.any().fill_null(value=False)
    if dtype == pl.Binary and mark.personal == "hash":
        return column.bin.encode("hex").is_in(values).fill_null(value=False)
    return column.cast(pl.String).is_in([str(value) for value in values]).fill_null(value=False)


def without_others(rows: pl.DataFrame, marks: Mapping[str, Mark], person: Person) -> pl.DataFrame:
    """The person's rows as they may see them: ids, keys and hashes of other people are null, lists have their own only."""
    hidden = []
    for name, mark in marks.items():
        if name not in rows.columns or mark.personal not in ("user", "pseudonym", "key", "hash"):
            continue
        values = [str(value) for value in person.values(mark.personal)]
        if isinstance(rows.schema[name], pl.List):
            hidden.append(pl.col(name).list.eval(pl.element().filter(pl.element().cast(pl.String).is_in(values))))
        elif mark.personal != "hash" or not mark.subject:
            is_own = pl.col(name).cast(pl.String).is_in(values)
            # A source may be a line of a log or a row, which names nobody by itself.
            is_a_key = pl.col(name).cast(pl.String).str.starts_with("uploads/")
            foreign_key = is_a_key if mark.personal == "key" else pl.lit(value=True)
            hidden.append(pl.when(is_own | ~foreign_key).then(pl.col(name)).alias(name))
    return rows.with_columns(hidden)


def lines_of(data: bytes) -> pl.Series:
    """The lines of a text of any encoding."""
    text = pl.Series("line", [data.decode("utf-8", "replace")], dtype=pl.String)
    lines = text.str.split("\n").explode()
    return lines.filter(lines != "")
