"""The contact sheet of text variants: each text above its variants, with inserted and deleted words marked.

An SVG drawn by vl-convert, which finds installed fonts for every script.
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


def contact_sheet(rows: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> bytes:
    """PNG. rows: each parent's text with (recipe's name, variant's text)."""
    elements: list[str] = []
    y = MARGIN_PX
    for parent_text, variants in rows:
        parent = parent_text[:SHOWN_CHARACTERS]
        for line in lines([(parent, "same")]):
            y += LINE_PX
            elements.append(f'<text x="{MARGIN_PX}" y="{y}" font-weight="bold">{_runs(line)}</text>')
        for name, text in variants:
            y += LINE_PX
            elements.append(f'<text x="{MARGIN_PX}" y="{y}" fill="{MUTED}">{_escaped(name)[:26]}</text>')
            for number, line in enumerate(lines(changes(parent, text[:SHOWN_CHARACTERS]))):
                y += LINE_PX if number else 0
                elements.append(f'<text x="{MARGIN_PX + COLUMN_PX}" y="{y}">{_runs(line)}</text>')
        y += GAP_PX
    height = y + MARGIN_PX
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" xml:space="preserve"'
        f' font-family="sans-serif" font-size="15" fill="{INK}">'
        f'<rect width="{WIDTH_PX}" height="{height}" fill="{PAPER}"/>{"".join(elements)}</svg>'
    )
    import vl_convert

    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png


def changes(before: str, after: str) -> list[Run]:
    """The variant's text with inserted and deleted pieces, in order. Without the pieces "gone" it is the variant."""
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    runs: list[Run] = []
    old_words, new_words = ([token.rstrip() for token in tokens] for tokens in (old, new))
    for tag, a, b, c, d in SequenceMatcher(None, old_words, new_words, autojunk=False).get_opcodes():
        if tag in ("delete", "replace"):
            runs.append(("".join(old[a:b]), "gone"))
        if tag != "delete":
            runs.append(("".join(new[c:d]), "same" if tag == "equal" else "new"))
    return runs


def lines(runs: Iterable[Run]) -> list[list[Run]]:
    """Wrap text between words; an ellipsis marks a text that continues after the last line."""
    broken: list[list[Run]] = [[]]
    room = TEXT_CHARACTERS
    for text, style in runs:
        for token in _TOKENS.findall(text):
            if len(token.rstrip()) > room and broken[-1]:
                if len(broken) == MAX_LINES:
                    broken[-1].append((" …", "same"))
                    return broken
                broken.append([])
                room = TEXT_CHARACTERS
            room -= len(token)
            broken[-1].append((token[:TEXT_CHARACTERS], style))
    return broken


def _runs(line: Iterable[Run]) -> str:
    styles = {
        "same": "",
        "new": f' dx="3" fill="{NEW}" font-weight="bold"',
        "gone": f' fill="{GONE}" text-decoration="line-through"',
    }
    merged: list[Run] = []
    for text, style in line:
        if merged and merged[-1][1] == style:
            merged[-1] = (merged[-1][0] + text, style)
        else:
            merged.append((text, style))
    return "".join(f"<tspan{styles[style]}>{_escaped(text)}</tspan>" for text, style in merged)


def _escaped(text: str) -> str:
    return escape(_UNPRINTABLE.sub(" ", text))
