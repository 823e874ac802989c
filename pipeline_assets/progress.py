"""How long work tells how far it is: a bar on a terminal, a line every few seconds elsewhere. Counting lives here too."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")

TELL_EVERY_S = 5.0


def track(items: Iterable[T], total: int, what: str, unit: str, tell: Callable[[str], object]) -> Iterator[T]:
    """Pass items on unchanged, telling how many of `total` are through and how fast.

    On a terminal a bar is drawn on stderr; elsewhere `tell` gets a line every few seconds, and none for quick work.
    """
    if sys.stderr.isatty() and total:
        yield from _bar(items, total, what, unit)
        return
    started, told = time.monotonic(), 0.0
    for done, item in enumerate(items, start=1):
        yield item
        elapsed = time.monotonic() - started
        if elapsed - told > TELL_EVERY_S or (done == total and told):
            told = elapsed
            pace = f"{done / elapsed:,.0f}/s" if done >= elapsed else f"{elapsed / done:,.1f} s each"
            tell(f"{what}: {done:,} of {total:,} {unit}, {pace}")


def _bar(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=total, description=what)
