"""Makes untrusted text safe to show: on a terminal, in Markdown, in a spreadsheet. Tables keep the values unchanged.

Titles, keys, names, log lines and messages come from uploaders and from foreign data sets. Unescaped they could move a
terminal's cursor, reverse a line, load a picture from another server, or run as a formula.
"""

import re

UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
"""Control characters (C0 without tab and newline, DEL, C1), bidirectional controls, line separators and marks without width,
as a character class of Python's and Polars' regular expressions. Joiners are excluded: emoji and some scripts need them."""
_UNSEEN = re.compile(f"[{UNSEEN}\ud800-\udfff]")
FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
"""Text that a spreadsheet reads as a formula, also after it strips leading whitespace."""
_MARKUP = re.compile(r"""[\\`*\[\]<>&~|@]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=/)""", re.IGNORECASE)
"""Characters that start inline markup, and texts that GitHub's Markdown turns into links: `www.`, `://`, `@`."""


def visible(text: str) -> str:
    r"""The text with each control character as JSON writes it (`\u001b`); newlines and tabs stay.

    JSON stays the same JSON.
    """
    return _UNSEEN.sub(_escape, text)


def one_line(text: object) -> str:
    r"""A value's text in one line: newlines and tabs are visible, too, so that it can't imitate a line of our output."""
    return visible(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def markdown(text: str) -> str:
    """GitHub Markdown that shows the text itself: it creates no link, picture, HTML or table."""
    return _MARKUP.sub(r"\\\g<0>", visible(text))


def cell(text: str) -> str:
    """Text for a spreadsheet: a text that it would run as a formula gets a leading apostrophe."""
    return f"'{visible(text)}" if re.match(FORMULA, text) else visible(text)
