"""Threads that take each item as far as it goes, a few items together, and give the results in order.

A thread prepares items one by one and finishes several in one go, while what they need lies in its core's cache: nothing
is handed from thread to thread but the item and its result. What the work is, is the caller's.
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
    """What is done to items. finish: takes up to `rows` prepared items, from anywhere in the input, to as many results."""

    prepare: Callable[[T], M]
    finish: Callable[[list[M]], list[R]]
    rows: int = 1


class Workers(Generic[T, M, R]):
    """`threads` threads of the pool, all of which it must have free, that do the work."""

    def __init__(self, work: Work[T, M, R], pool: ThreadPoolExecutor, threads: int) -> None:
        self._work, self._pool, self._threads = work, pool, threads
        self._todo: queue.SimpleQueue[tuple[Future[R], T] | None] = queue.SimpleQueue()
        self._unprepared = threading.Semaphore(2 * threads)
        self._stop = threading.Event()

    def results(self, items: Iterable[T], size: int) -> Generator[list[R], None, None]:
        """Results by `size`, in the order of the items, which are drawn on a thread of their own.

        At most two items a thread are held unprepared, and about 3 x size results, or 2 x rows x threads if that is more.
        An error that items raise is raised after the results before it; one of the work, in place of its results. Close
        the generator to stop: it waits for what is being drawn and worked on at that moment.
        """
        # Room for all that the threads hold, so that they rarely finish fewer than `rows` for want of items.
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
                    chunk[-1].exception()  # waiting for the last one first wakes this thread once, not for each
                    yield [future.result() for future in chunk]
            if isinstance(item, BaseException):
                raise item
        finally:
            self._stop.set()
            feeder.join()
            for done in working:
                done.result()

    def _run(self) -> None:
        """What one thread does, until None comes.

        What it holds does not wait for company that does not come: the other threads may take every further item, and none
        is fed while the reader waits for one of these.
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
        """Hand on each item, then None, or the error that ended the input."""
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
                # An abandoned source is closed on the thread that ran it.
                items.close()
        except BaseException as error:
            ending = error
        for _ in range(self._threads):
            self._todo.put(None)
        self._put(ready, ending)

    def _put(self, ready: queue.Queue[Future[R] | BaseException | None], item: Future[R] | BaseException | None) -> None:
        """Wait for room, but not longer than anyone reads."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=_POLL_S)
                return
