"""Many small waits at once, few in memory: coroutines over a lazily read iterable, and a budget of bytes.

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
    """The process's background loop, started when first asked for."""
    global _loop
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="object-store", daemon=True).start()
            _loop = loop
            atexit.register(_let_leave)
        return _loop


def _let_leave() -> None:
    """Wait, when the interpreter ends, until the threads of obstore have left Python.

    One of them hands a result over by waking the loop. The main thread may have the result, and be done, before that thread
    is back; it would then meet an interpreter that is ending, and the whole process would end by SIGABRT.
    """
    until = time.monotonic() + LEAVING_S
    while sys._current_frames().keys() - {thread.ident for thread in threading.enumerate()} and time.monotonic() < until:
        time.sleep(0.001)


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run one coroutine on the background loop and wait for its result."""
    return asyncio.run_coroutine_threadsafe(work, event_loop()).result()


class Handover(Generic[T]):
    """Calls `take` on the background loop for each item that another thread sends, in order, many to one wake-up.

    Waking the loop costs a system call and a change of threads; done for each of many small items, that is what they cost.
    """

    def __init__(self, take: Callable[[T], object]) -> None:
        self._take = take
        self._loop = event_loop()
        self._sent: deque[T] = deque()
        self._is_woken = False

    def send(self, item: T) -> None:
        """Hand an item over; returns at once. From one thread at a time."""
        self._sent.append(item)
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._receive)

    def _receive(self) -> None:
        # Cleared before looking: what is sent from here on is either seen below or wakes the loop again.
        self._is_woken = False
        while self._sent:
            self._take(self._sent.popleft())


def completed(items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]], concurrency: int) -> Iterator[tuple[T, R]]:
    """Each item with the result of `work` on it, in the order of completion.

    `items` is read no further ahead than `concurrency`, in the caller's thread, and in bursts, once half of them are done:
    where the caller keeps all cores busy, an item that is started alone wakes client and server for itself. An
    exception of `work` or of `items` ends the iteration and is raised; closing the iterator early cancels what is under way.
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
            task.exception()  # asyncio complains of errors that nobody looked at, and a closed iterator looks at none
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
    """Bytes that may be held at once; more must wait, in order. For use on the background loop.

    A demand above the whole budget is cut to it, so that it is met once nothing else is held.
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
        """Give `size` bytes back and wake whoever fits now."""
        self._free += min(size, self.size)
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif wanted <= self._free:
                self._waiting.popleft()
                self._free -= wanted
                turn.set_result(None)
            else:
                return
