"""Many small waits at once, few in memory: coroutines over a lazily read iterable, and a budget of bytes.

One event loop on a daemon thread serves the whole process; callers stay synchronous.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

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
        return _loop


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run one coroutine on the background loop and wait for its result."""
    return asyncio.run_coroutine_threadsafe(work, event_loop()).result()


def completed(items: Iterable[T], work: Callable[[T], Awaitable[R]], concurrency: int) -> Iterator[tuple[T, R]]:
    """Each item with the result of `work` on it, in the order of completion.

    `items` is read no further ahead than `concurrency`, in the caller's thread. An exception of `work` or of `items` ends
    the iteration and is raised; closing the iterator early cancels what is under way.
    """
    loop = event_loop()
    done: queue.SimpleQueue[Future[tuple[T, R]]] = queue.SimpleQueue()
    running: set[Future[tuple[T, R]]] = set()

    async def one(item: T) -> tuple[T, R]:
        return item, await work(item)

    source = iter(items)
    exhausted = False
    try:
        while True:
            while not exhausted and len(running) < concurrency:
                try:
                    item = next(source)
                except StopIteration:
                    exhausted = True
                    break
                future = asyncio.run_coroutine_threadsafe(one(item), loop)
                running.add(future)
                future.add_done_callback(done.put)
            if not running:
                return
            finished = done.get()
            running.discard(finished)
            yield finished.result()
    finally:
        for future in running:
            future.cancel()


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
