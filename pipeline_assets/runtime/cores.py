"""Parallel work: on several CPU cores, or on several slow requests."""

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
    """Results of `work` in the order of the items; at most `limit` items are in progress.

    After an error, and when the generator is closed, it calls `stop` and waits for the items in progress.
    """
    futures: deque[Future[R]] = deque()
    try:
        for item in items:
            futures.append(pool.submit(work, item))
            if len(futures) >= limit:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        stop()
        for future in futures:
            if not future.cancel():
                future.exception()
