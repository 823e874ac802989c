"""Work on several CPU cores, or on what is slow to answer, at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def core_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[T], R],
    items: Iterable[T],
    limit: int,
    stop: Callable[[], object] = lambda: None,
) -> Iterator[R]:
    """Results of `work` in the order of the items, of which no more than `limit` are under way.

    Closing it, and an error, wait for what is being worked on; stop: called before, to tell that nobody wants it.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop()
        for future in waiting:
            if not future.cancel():
                future.exception()
