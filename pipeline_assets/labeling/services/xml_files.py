"""Reads XML of annotation tools element by element, without document types, entities or references outside. Pure.

It is streamed: what came before a broken place has been read, and the rest is one reject.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pipeline_assets.errors import ImportRefused
from pipeline_assets.labeling.services.form import Reject

MAX_FILE_BYTES = 1 << 30
MAX_DEPTH = 32
MAX_PARTS = 100_000
"""Elements and pieces of text in one element that is read."""
_CHUNK = 1 << 20
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass
class Element:
    """An element with what is in it. text: all its own text, joined."""

    name: str
    attributes: Mapping[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def child(self, name: str) -> "Element | None":
        """The first child of a name."""
        return next((child for child in self.children if child.name == name), None)

    def text_of(self, *names: str) -> str:
        """The text of a descendant, by names from here on; empty without one."""
        element: Element | None = self
        for name in names:
            element = element.child(name) if element else None
        return element.text.strip() if element else ""


class _Unsafe(Exception):
    """A part of XML that is not read; the message names it."""


def elements(path: Path, names: tuple[str, ...]) -> Iterator[Element | Reject]:
    """The outermost elements of these names, in order. Raises ImportRefused for a file that is too large."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImportRefused(f"{path} has more than {MAX_FILE_BYTES:,} bytes: split it.")
    builder = _Builder(names)
    with path.open("rb") as file:
        while True:
            data = file.read(_CHUNK)
            try:
                builder.parser.Parse(data, not data)
            except (expat.ExpatError, _Unsafe, ValueError, LookupError) as error:  # LookupError: an unknown encoding
                yield from builder.take()
                line = builder.parser.CurrentLineNumber
                reason = "unsafe_xml" if isinstance(error, _Unsafe) else "bad_xml"
                yield Reject(f"{path.name}, line {line:,}", reason, f"{error!s:.200}; the rest of it is not read")
                return
            yield from builder.take()
            if not data:
                return


class _Builder:
    """Collects elements while expat reads."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.done: list[Element] = []
        self.open: list[Element] = []
        self.depth = 0
        self.parts = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = _refuse
        self.parser.EntityDeclHandler = _refuse
        self.parser.ExternalEntityRefHandler = _refuse

    def take(self) -> list[Element]:
        """The elements that are complete, once."""
        done, self.done = self.done, []
        return done

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Unsafe(f"elements are nested more than {MAX_DEPTH} deep")
        if not self.open and name not in self.names:
            return
        self._count()
        element = Element(name, attributes)
        if self.open:
            self.open[-1].children.append(element)
        self.open.append(element)

    def _end(self, name: str) -> None:
        self.depth -= 1
        if not self.open:
            return
        element = self.open.pop()
        if not self.open:
            self.done.append(element)
            self.parts = 0

    def _text(self, text: str) -> None:
        if self.open and text.strip():
            self._count()
            self.open[-1].text += text

    def _count(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise _Unsafe(f"one {self.open[0].name} has more than {MAX_PARTS:,} parts")


def _refuse(*_: object) -> NoReturn:
    raise _Unsafe("it declares a document type or entities, which are not read")


def written(value: object) -> str:
    """Text for the inside of an element."""
    return escape(_clean(str(value)))


def attribute(value: object) -> str:
    """A quoted attribute."""
    return quoteattr(_clean(str(value)))


def _clean(text: str) -> str:
    """Without characters that XML can't hold: each becomes U+FFFD."""
    return _IMPOSSIBLE.sub("\ufffd", text)
