"""The picture of text variants: each text, and below it its variants with what is new in them and what is gone.

An SVG drawn by vl-convert, which finds a font for every script that the machine has one for.
"""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from xml.sax.saxutils import escape

WIDTH_PX, LINE_PX, GAP_PX, MARGIN_PX, COLUMN_PX = 960, 24, 18, 24, 190
TEXT_CHARACTERS, MAX_LINES, SHOWN_CHARACTERS = 92, 4, 1000
"""What fits beside the column of recipes' names; longer texts are broken, and cut after a few lines."""
INK, MUTED, NEW, GONE, PAPER = "#22262b", "#6b737c", "#0a6ebd", "#d1495b", "#ffffff"

_TOKENS = re.compile(r"(?:\w+(?:['’-]\w+)*|[^\w\s])\s*|\s+")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")

Run = tuple[str, str]
"""A piece of text and how it is drawn: "same", "new" or "gone"."""


def contact_sheet(shown: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> bytes:
    """PNG. shown: each parent's text with (recipe's name, variant's text)."""
    drawn: list[str] = []
    y = MARGIN_PX
    for whole, variants in shown:
        parent = whole[:SHOWN_CHARACTERS]
        for line in lines([(parent, "same")]):
            y += LINE_PX
            drawn.append(f'<text x="{MARGIN_PX}" y="{y}" font-weight="bold">{_runs(line)}</text>')
        for name, text in variants:
            y += LINE_PX
            drawn.append(f'<text x="{MARGIN_PX}" y="{y}" fill="{MUTED}">{_escaped(name)[:26]}</text>')
            for number, line in enumerate(lines(changes(parent, text[:SHOWN_CHARACTERS]))):
                y += LINE_PX if number else 0
                drawn.append(f'<text x="{MARGIN_PX + COLUMN_PX}" y="{y}">{_runs(line)}</text>')
        y += GAP_PX
    height = y + MARGIN_PX
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" xml:space="preserve"'
        f' font-family="sans-serif" font-size="15" fill="{INK}">'
        f'<rect width="{WIDTH_PX}" height="{height}" fill="{PAPER}"/>{"".join(drawn)}</svg>'
    )
    import vl_convert

    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png


def changes(before: str, after: str) -> list[Run]:
    """The variant's text with what is new and what is gone, in its order. Without "gone" it is the variant."""
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    runs: list[Run] = []
    old_words, new_words = ([token.rstrip() for token in tokens] for tokens in (old, new))
    for what, a, b, c, d in SequenceMatcher(None, old_words, new_words, autojunk=False).get_opcodes():
        if what in ("delete", "replace"):
            runs.append(("".join(old[a:b]), "gone"))
        if what != "delete":
            runs.append(("".join(new[c:d]), "same" if what == "equal" else "new"))
    return runs


def lines(runs: Iterable[Run]) -> list[list[Run]]:
    """Broken between words where a line is full; an ellipsis where the text goes on after the last line."""
    broken: list[list[Run]] = [[]]
    room = TEXT_CHARACTERS
    for text, how in runs:
        for token in _TOKENS.findall(text):
            if len(token.rstrip()) > room and broken[-1]:
                if len(broken) == MAX_LINES:
                    broken[-1].append((" …", "same"))
                    return broken
                broken.append([])
                room = TEXT_CHARACTERS
            room -= len(token)
            broken[-1].append((token[:TEXT_CHARACTERS], how))
    return broken


def _runs(line: Iterable[Run]) -> str:
    styles = {
        "same": "",
        "new": f' dx="3" fill="{NEW}" font-weight="bold"',
        "gone": f' fill="{GONE}" text-decoration="line-through"',
    }
    merged: list[Run] = []
    for text, how in line:
        if merged and merged[-1][1] == how:
            merged[-1] = (merged[-1][0] + text, how)
        else:
            merged.append((text, how))
    return "".join(f"<tspan{styles[how]}>{_escaped(text)}</tspan>" for text, how in merged)


def _escaped(text: str) -> str:
    return escape(_UNPRINTABLE.sub(" ", text))
