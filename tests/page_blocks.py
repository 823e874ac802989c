"""The fenced code blocks of the pages, and which of them run in a test."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MARK = re.compile(r"<!-- not run: (.+?) -->")
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.M | re.S)
NO_CODE = {"text", "mermaid", "json", "yaml"}
"""Languages with nothing to run: `test_document` compares the graph, `test_pages` parses JSON, and YAML as a campaign."""
EXPORT = '"""Export a classifier'
ELSEWHERE = {
    EXPORT: "test_document.py",
    '"""The tint of a photo': "test_own_asset.py",
    'MODULES = ("styles", "tints")': "test_own_asset.py",
    "darkroom refresh --asset photo_tints": "test_own_asset.py",
    '"""Tables of our own': "test_own_asset.py",
    "from pipeline_assets.extras": "test_own_asset.py",
    "darkroom status --asset class_brightness": "test_own_asset.py",
    '"""Parquet and Feather': "versioning/formats/test_format_docs.py",
    '"""HDF5': "versioning/formats/test_format_docs.py",
    '"""TFRecord': "versioning/formats/test_format_docs.py",
    '"""WebDataset': "versioning/formats/test_format_docs.py",
    '"""COCO': "versioning/formats/test_format_docs.py",
    "darkroom stream  ": "serving/stream/test_stream_http.py",
    "darkroom serve  ": "serving/endpoint/test_serving_page.py",
    "import base64, json, urllib.request": "serving/endpoint/test_serving_page.py",
}
"""What a block begins with, and the test that runs it."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. not_run: the reason that stands before it, empty if none does."""

    page: str
    line: int
    language: str
    code: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"

    @property
    def is_run_elsewhere(self) -> bool:
        return self.code.startswith(tuple(ELSEWHERE))


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page, in order."""
    text = page.read_text()
    for fence in FENCE.finditer(text):
        above = text[: fence.start()].rstrip().rsplit("\n", 1)[-1]
        mark = MARK.fullmatch(above.strip())
        code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.M)
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, fence["language"], code, mark[1] if mark else "")


def runnable(page: Path, *languages: str) -> list[Block]:
    """The blocks of these languages that neither another test runs nor a mark sets aside."""
    return [
        block for block in blocks(page) if block.language in languages and not block.not_run and not block.is_run_elsewhere
    ]
