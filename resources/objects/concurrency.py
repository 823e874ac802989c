"""Concurrent requests in bounded memory: coroutines over a lazily read iterable, and a budget of bytes.

One event loop on a daemon thread serves the whole process; callers stay synchronous.
"""

import asyncio
import atexit
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

LEAVING_S = 2.0
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def event_loop() -> asyncio.AbstractEventLoop:
    """The process's background loop, started on first use."""
    global _loop
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="object-store", daemon=True).start()
            _loop = loop
            atexit.register(_let_leave)
        return _loop


def _let_leave() -> None:
    """Wait at the end of the interpreter until obstore's threads have left Python.

    Such a thread wakes the loop with a result. The main thread may finish with that result before the thread has returned,
    which would then run in an ending interpreter, and the process would end by SIGABRT.
    """
    until = time.monotonic() + LEAVING_S
    while sys._current_frames().keys() - {thread.ident for thread in threading.enumerate()} and time.monotonic() < until:
        time.sleep(0.001)


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run one coroutine on the background loop and wait for its result."""
    return asyncio.run_coroutine_threadsafe(work, event_loop()).result()


class Handover(Generic[T]):
    """Calls `take` on the background loop for each item that another thread sends, in order, several for one wake-up.

    A wake-up costs a system call and a switch of threads, which would dominate the cost of many small items.
    """

    def __init__(self, take: Callable[[T], object]) -> None:
        self._take = take
        self._loop = event_loop()
        self._sent: deque[T] = deque()
        self._is_woken = False

    def send(self, item: T) -> None:
        """Send an item, and return at once. Call it from one thread at a time."""
        self._sent.append(item)
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._receive)

    def _receive(self) -> None:
        # Cleared before reading: an item that is sent from now on is either read below or wakes the loop again.
        self._is_woken = False
        while self._sent:
            self._take(self._sent.popleft())


def completed(items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]], concurrency: int) -> Iterator[tuple[T, R]]:
    """Each item with the result of `work` on it, in the order of completion.

    `items` is read at most `concurrency` ahead, in the caller's thread, and in bursts, once half of the items are done: if
    the caller keeps all cores busy, an item that starts alone costs client and server a wake-up of its own. An exception of
    `work` or of `items` ends the iteration and is raised; closing the iterator cancels the running work.
    """
    loop = event_loop()
    done: queue.SimpleQueue[tuple[T, asyncio.Task[R]]] = queue.SimpleQueue()
    running: set[asyncio.Task[R]] = set()

    def start(item: T) -> None:
        task = loop.create_task(work(item))
        running.add(task)
        task.add_done_callback(lambda task: finish(item, task))

    def finish(item: T, task: asyncio.Task[R]) -> None:
        running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: asyncio warns of others, and a closed iterator retrieves none
        done.put((item, task))

    def cancel() -> None:
        for task in list(running):
            task.cancel()

    handover = Handover(start)
    source = iter(items)
    exhausted, taken = False, 0
    try:
        while True:
            if taken <= concurrency // 2 and not exhausted:
                for item in islice(source, concurrency - taken):
                    handover.send(item)
                    taken += 1
                exhausted = taken < concurrency
            if not taken:
                return
            item, task = done.get()
            taken -= 1
            yield item, task.result()
    finally:
        loop.call_soon_threadsafe(cancel)


class ByteBudget:
    """A limit for bytes in memory; requests beyond it wait in order. For use on the background loop.

    A request above the whole budget is cut to it, so that it is met once everything else is released.
    """

    def __init__(self, size: int) -> None:
        self.size = max(1, size)
        self._free = self.size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_acquire(self, size: int) -> bool:
        """Take `size` bytes if they are free and nobody waits."""
        if self._waiting or min(size, self.size) > self._free:
            return False
        self._free -= min(size, self.size)
        return True

    async def acquire(self, size: int) -> None:
        """Wait for `size` bytes and take them."""
        if self.try_acquire(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((min(size, self.size), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)
            raise

    def release(self, size: int) -> None:
        """Return `size` bytes, and wake the waiting requests that fit now."""
        self._free += min(size, self.size)
        while self._waiting:
            size_waiting, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif size_waiting <= self._free:
                self._waiting.popleft()
                self._free -= size_waiting
                turn.set_result(None)
            else:
                return
