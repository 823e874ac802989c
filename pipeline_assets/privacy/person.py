"""One person by all that their data are found by, and how rows and lines of text are recognised. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
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
        """What makes a line this person's: pseudonyms, questions about their items, hashes. Keys are found by `ids`."""
        return sorted({*self.pseudonyms, *self.tasks, *self.hashes})

    @cached_property
    def words(self) -> list[str]:
        """Texts that name this person: also names, titles and places, which others may have typed, too."""
        typed = {word for word in (*self.names, *self.texts) if len(word) >= SHORTEST_WORD}
        return sorted({*self.own_words, *typed, *(_in_json(word) for word in typed)})

    @cached_property
    def ids(self) -> str:
        """A regular expression for the person's id as a field of JSON, in JSON in JSON too, and as a part of a key."""
        return rf'\buser_id\\*"?\s*[:=]\s*\\*"?{self.user_id}(?:[^0-9.]|$)|uploads/\d{{4}}-\d\d-\d\d/{self.user_id}/'

    @cached_property
    def of_others(self) -> re.Pattern[str]:
        """Ids of users, keys to the end of their text, and pseudonyms, which are not this person's."""
        own = "".join(f"(?!{re.escape(pseudonym)}\\b)" for pseudonym in sorted(self.pseudonyms))
        return re.compile(
            rf'(user_id\\*"?\s*[:=]\s*\\*"?)(?!{self.user_id}(?!\d))\d+'
            rf'|uploads/\d{{4}}-\d\d-\d\d/(?!{self.user_id}/)\d+/[^"\\\n]*'
            rf"|\b{own}(?:user-[0-9a-f]{{16}}|annotator-[0-9a-f]{{12}})\b"
        )


def _in_json(word: str) -> str:
    return json.dumps(word)[1:-1]


def found_in(lines: pl.Series, person: Person) -> pl.Series:
    """Which of these lines of text name the person, in any way."""
    return _judged(lines, person, _named)


def owned_in(lines: pl.Series, person: Person) -> pl.Series:
    """Which of these lines of text are the person's: they name more than what others may have typed, too."""
    return _judged(lines, person, _owned)


def without_others_in(text: str, person: Person) -> str:
    """A text without ids, keys and pseudonyms of other people."""
    return person.of_others.sub(lambda found: f"{found[1] or ''}null", text)


Judge = Callable[[pl.Expr, Person], pl.Expr]


def _judged(lines: pl.Series, person: Person, judge: Judge) -> pl.Series:
    frame = lines.fill_null("").to_frame(_TEXT_COLUMN)
    return frame.select(judge(pl.col(_TEXT_COLUMN), person))[_TEXT_COLUMN]


_PHOTO = r'\bphoto_id\\*"?\s*[:=]\s*\\*"?\d+'


def _named(text: pl.Expr, person: Person) -> pl.Expr:
    """Whether a text names the person."""
    return _has(text, person, person.words)


def _owned(text: pl.Expr, person: Person) -> pl.Expr:
    """Whether a text is the person's."""
    return _has(text, person, person.own_words)


def _has(text: pl.Expr, person: Person, words: list[str]) -> pl.Expr:
    found = text.str.contains(person.ids)
    if words:
        found = found | text.str.contains_any(words)
    if person.photo_ids:
        photo = pl.element().str.extract(r"(\d+)$", 1).cast(pl.Int64, strict=False)
        photos = text.str.extract_all(_PHOTO).list.eval(photo.is_in(person.values("photo")))
        found = found | photos.list.any().fill_null(value=False)
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
        own = own | _holds(name, marked[name], frame.schema[name], person, _owned)
    named = pl.lit(value=False)
    for name, mark in marked.items():
        named = named | _holds(name, mark, frame.schema[name], person, _named)
    judged = frame.select(own=own, named=named)
    return Rows(frame.filter(judged["own"]), int((judged["named"] & ~judged["own"]).sum()))


def _holds(name: str, mark: Mark, dtype: pl.DataType, person: Person, judge: Judge) -> pl.Expr:
    """Whether a column's value is the person's, or names them."""
    column = pl.col(name)
    if mark.content and dtype == pl.String:
        return judge(column.fill_null(""), person)
    values = person.values(mark.personal) if mark.personal else []
    if not values:
        return pl.lit(value=False)
    if isinstance(dtype, pl.List):
        return column.list.eval(pl.element().is_in(values)).list.any().fill_null(value=False)
    return _text(name, dtype).is_in([str(value) for value in values]).fill_null(value=False)


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column's values as the texts that a person's values are compared with; hashes may be bytes."""
    return pl.col(name).bin.encode("hex") if dtype == pl.Binary else pl.col(name).cast(pl.String)


_HIDDEN: tuple[Sort, ...] = ("user", "pseudonym", "key", "hash", "task")


def without_others(rows: pl.DataFrame, marks: Mapping[str, Mark], person: Person) -> pl.DataFrame:
    """The person's rows as they may see them: ids, keys and hashes of other people are null, lists have their own only.

    Texts of many things are shown `without_others_in` them.
    """
    hidden = []
    for name, mark in marks.items():
        if name not in rows.columns or mark.personal is None:
            continue
        dtype = rows.schema[name]
        shown = pl.col(name)
        if mark.content and dtype == pl.String:
            shown = shown.map_elements(lambda text: without_others_in(text, person), pl.String)
        if mark.personal in _HIDDEN:
            shown = _own_values(name, mark.personal, dtype, shown, person)
        hidden.append(shown.alias(name))
    return rows.with_columns(hidden)


def _own_values(name: str, sort: Sort, dtype: pl.DataType, shown: pl.Expr, person: Person) -> pl.Expr:
    values = [str(value) for value in person.values(sort)]
    if isinstance(dtype, pl.List):
        return shown.list.eval(pl.element().filter(pl.element().cast(pl.String).is_in(values)))
    is_own = _text(name, dtype).is_in(values)
    if sort == "key":  # a source may be a line of a log or a row, which names nobody by itself
        is_own = is_own | ~pl.col(name).cast(pl.String).str.starts_with("uploads/")
    return pl.when(is_own).then(shown)


def unmixed(rows: pl.DataFrame, person: Person) -> pl.DataFrame:
    """Rows of variants that were made of this person's contents alone: a mixed one shows another's photo, too."""
    hashes = person.values("hash")
    parents = [pl.col(name) for name in ("parent_sha256", "other_parent_sha256") if name in rows.columns]
    return rows.filter(parent.is_null() | parent.is_in(hashes) for parent in parents)


def lines_of(data: bytes) -> pl.Series:
    """The lines of a text of any encoding."""
    text = pl.Series("line", [data.decode("utf-8", "replace")], dtype=pl.String)
    lines = text.str.split("\n").explode()
    return lines.filter(lines != "")
