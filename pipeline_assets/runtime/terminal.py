"""The terminal of the `darkroom` command: titles, keys, names and messages are shown as text, whatever they contain.

Only rich writes escape sequences, for its own colours and bars. All other output, by click, print, logging or a traceback,
passes through a stream that makes control characters visible.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pipeline_assets.runtime.visible import visible


class Terminal(Console):
    """A console without markup, so that brackets in a title stay brackets: styles are arguments, or `Text` objects."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "soft_wrap": True, "markup": False, "emoji": False} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make control characters in a string visible before its layout."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Make control characters visible in all other output. The console's own control codes stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


class VisibleStream:
    """A text stream that makes control characters visible, and writes to another one. A rich console bypasses it."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """rich's name for the stream behind a replaced stdout."""

    def write(self, text: str) -> int:
        """Write the text with its control characters visible. Returns its length, as any text stream."""
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """False: colours that a program writes to a terminal would be shown as text."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)

    def __iter__(self) -> Iterator[str]:
        raise TypeError("an output stream has no lines to read")


def make_output_visible() -> None:
    """Replace stdout and stderr of this process by `VisibleStream`s, also for tracebacks at its end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, VisibleStream):
            setattr(sys, name, cast(TextIO, VisibleStream(stream)))


def data_output() -> TextIO:
    """The stream for unchanged values that another program reads: stdout, unless it is a terminal."""
    behind = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    return sys.stdout if behind.isatty() else cast(TextIO, behind)


class VisibleCommands(click.Group):
    """A group of commands whose output, errors and prompts show control characters."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command as click does."""
        make_output_visible()
        return super().main(*arguments, **options)


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with so many digits behind the point; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"
