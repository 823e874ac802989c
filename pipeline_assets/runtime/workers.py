"""Threads that prepare items one by one, finish several together, and return the results in order.

One thread does both, so that prepared items stay in its core's cache: only items and results pass between threads. The
caller defines the work.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
M = TypeVar("M")
R = TypeVar("R")

_POLL_S = 0.05


@dataclass(frozen=True)
class Work(Generic[T, M, R]):
    """The work on items. finish: turns up to `rows` prepared items, from anywhere in the input, into as many results."""

    prepare: Callable[[T], M]
    finish: Callable[[list[M]], list[R]]
    rows: int = 1


class Workers(Generic[T, M, R]):
    """Does the work on `threads` threads of the pool, which must all be free."""

    def __init__(self, work: Work[T, M, R], pool: ThreadPoolExecutor, threads: int) -> None:
        self._work, self._pool, self._threads = work, pool, threads
        self._todo: queue.SimpleQueue[tuple[Future[R], T] | None] = queue.SimpleQueue()
        self._unprepared = threading.Semaphore(2 * threads)
        self._stop = threading.Event()

    def results(self, items: Iterable[T], size: int) -> Generator[list[R], None, None]:
        """Yield results in lists of `size`, in the order of the items; a separate thread iterates over the items.

        Memory has at most two unprepared items per thread, and about 3 x size results, or 2 x rows x threads if that is
        more. An error of `items` is raised after the results before it; an error of the work, in place of its results.
        Close the generator to stop: it waits for the items in progress.
        """
        # Large enough for all items in the threads, so that they rarely finish fewer than `rows` of them together.
        ready: queue.Queue[Future[R] | BaseException | None] = queue.Queue(
            max(2 * size, 2 * self._work.rows * self._threads)
        )
        feeder = threading.Thread(target=self._feed, args=(items, ready), name="classify-feed", daemon=True)
        working = [self._pool.submit(self._run) for _ in range(self._threads)]
        feeder.start()
        try:
            is_open = True
            while is_open:
                chunk: list[Future[R]] = []
                while len(chunk) < size and isinstance(item := ready.get(), Future):
                    chunk.append(item)
                is_open = len(chunk) == size
                if chunk:
                    chunk[-1].exception()  # waiting for the last one wakes this thread once
                    yield [future.result() for future in chunk]
            if isinstance(item, BaseException):
                raise item
        finally:
            self._stop.set()
            feeder.join()
            for done in working:
                done.result()

    def _run(self) -> None:
        """Work of one thread, until it gets None.

        Prepared items are finished after a short wait without new ones: the other threads may take all further items, and
        none are fed while the reader waits for one of these.
        """
        waiting: list[tuple[Future[R], M]] = []
        while True:
            try:
                task = self._todo.get(timeout=_POLL_S if waiting else None)
            except queue.Empty:
                self._finish(waiting)
                waiting = []
                continue
            if task is None:
                break
            future, item = task
            if self._stop.is_set():
                continue
            try:
                waiting.append((future, self._work.prepare(item)))
            except BaseException as error:
                future.set_exception(error)
            self._unprepared.release()
            if len(waiting) == self._work.rows:
                self._finish(waiting)
                waiting = []
        if waiting and not self._stop.is_set():
            self._finish(waiting)

    def _finish(self, waiting: list[tuple[Future[R], M]]) -> None:
        try:
            results = self._work.finish([prepared for _, prepared in waiting])
        except BaseException as error:
            for future, _ in waiting:
                future.set_exception(error)
            return
        for (future, _), result in zip(waiting, results, strict=True):
            future.set_result(result)

    def _feed(self, items: Iterable[T], ready: queue.Queue[Future[R] | BaseException | None]) -> None:
        """Queue each item, then None, or the error that ended the input."""
        ending: BaseException | None = None
        try:
            for item in items:
                while not self._stop.is_set() and not self._unprepared.acquire(timeout=_POLL_S):
                    pass
                if self._stop.is_set():
                    break
                future: Future[R] = Future()
                self._todo.put((future, item))
                self._put(ready, future)
            if isinstance(items, Generator):
                # A generator must be closed on the thread that ran it.
                items.close()
        except BaseException as error:
            ending = error
        for _ in range(self._threads):
            self._todo.put(None)
        self._put(ready, ending)

    def _put(self, ready: queue.Queue[Future[R] | BaseException | None], item: Future[R] | BaseException | None) -> None:
        """Wait for room in the queue while the reader is there."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=_POLL_S)
                return
