"""Every interleaving of a few actors whose steps are real calls on a real folder.

Each actor is a thread with its own ObjectStore over the same folder. Before each call to the backend it waits until the
explorer lets it go; one is let go at a time, so a run is decided by the explorer's choices, which it then goes through
one by one. An actor may be killed before a step: it is never let go again.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from obstore.store import LocalStore

from resources.objects.store import ObjectStore

Actor = Callable[[ObjectStore, Callable[[str], None]], None]
"""What an actor does, with its store and a function that waits for its turn (for steps that are not the store's)."""


class Killed(BaseException):
    """Ends an actor's thread when a run is over."""


@dataclass
class Turnstile:
    """Where actors wait. `waiting`: which are at it, and for what."""

    lock: threading.Condition = field(default_factory=threading.Condition)
    waiting: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    allowed: str | None = None
    is_over: bool = False

    def step(self, actor: str, what: str) -> None:
        with self.lock:
            self.waiting[actor] = what
            self.running.discard(actor)
            self.lock.notify_all()
            self.lock.wait_for(lambda: self.allowed == actor or self.is_over, timeout=30)
            if self.is_over:
                raise Killed
            self.allowed = None
            del self.waiting[actor]
            self.running.add(actor)

    def done(self, actor: str) -> None:
        with self.lock:
            self.running.discard(actor)
            self.waiting.pop(actor, None)
            self.lock.notify_all()


class Stepped:
    """A backend's calls, each behind the turnstile."""

    def __init__(self, store: LocalStore, turnstile: Turnstile, actor: str) -> None:
        self._store, self._turnstile, self._actor = store, turnstile, actor

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        async def stepped(path: str, *arguments: Any, **options: Any) -> Any:
            await asyncio.to_thread(self._turnstile.step, self._actor, f"{name} {path}")
            return await call(path, *arguments, **options)

        def listed(prefix: str | None = None) -> Any:
            self._turnstile.step(self._actor, f"list {prefix}")
            return call(prefix)

        return listed if name == "list" else stepped if name.endswith("_async") else call


@dataclass
class Run:
    """One run: which steps were made, and at each choice how many ways there were."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    ways: list[int] = field(default_factory=list)
    errors: dict[str, BaseException] = field(default_factory=dict)


def explore(
    start: Callable[[], tuple[LocalStore, dict[str, Actor]]],
    *,
    enabled: Callable[[str, str, Run], bool] = lambda actor, what, run: True,
    switches: int | None = None,
    killed_at: tuple[str, int] | None = None,
) -> Iterator[Run]:
    """Run all interleavings of the actors that `start` gives for each anew, with at most so many switches between them.

    enabled: whether an actor may make its next step; where none may, all may. killed_at: an actor, and how many steps it makes.
    """
    choices: list[int] = []
    while True:
        run = _run(*start(), choices, enabled, switches, killed_at)
        yield run
        while len(choices) < len(run.ways):
            choices.append(0)
        while choices and choices[-1] + 1 >= run.ways[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


def _run(
    store: LocalStore,
    actors: dict[str, Actor],
    choices: Sequence[int],
    enabled: Callable[[str, str, Run], bool],
    switches: int | None,
    killed_at: tuple[str, int] | None,
) -> Run:
    turnstile, run = Turnstile(), Run()

    def act(name: str, actor: Actor) -> None:
        try:
            actor(ObjectStore("memory://", Stepped(store, turnstile, name), None), lambda what: turnstile.step(name, what))
        except Killed:
            pass
        except Exception as error:
            run.errors[name] = error
        finally:
            turnstile.done(name)

    turnstile.running = set(actors)
    threads = [threading.Thread(target=act, args=item, daemon=True) for item in actors.items()]
    for thread in threads:
        thread.start()
    last, left = None, switches
    while True:
        with turnstile.lock:
            assert turnstile.lock.wait_for(lambda: not turnstile.running, timeout=30), turnstile.running
            alive = {name: what for name, what in sorted(turnstile.waiting.items()) if not _is_dead(name, run, killed_at)}
            if not alive:
                turnstile.is_over = True
                turnstile.lock.notify_all()
                break
            able = _able(alive, last, left, lambda name, what: enabled(name, what, run))
            way = choices[len(run.ways)] if len(run.ways) < len(choices) else 0
            run.ways.append(len(able))
            chosen = able[way]
            if left is not None and last in able and chosen != last:
                left -= 1
            last = chosen
            run.steps.append((chosen, alive[chosen]))
            turnstile.running.add(chosen)
            turnstile.allowed = chosen
            turnstile.lock.notify_all()
    for thread in threads:
        thread.join(timeout=30)
    return run


def _able(alive: dict[str, str], last: str | None, left: int | None, enabled: Callable[[str, str], bool]) -> list[str]:
    """Who may make the next step. To go on is the first way; all others are switches."""
    able = [name for name, what in alive.items() if enabled(name, what)] or list(alive)
    if last not in able:
        return able
    return [last] if left == 0 else [last, *(name for name in able if name != last)]


def _is_dead(actor: str, run: Run, killed_at: tuple[str, int] | None) -> bool:
    return killed_at is not None and actor == killed_at[0] and sum(name == actor for name, _ in run.steps) >= killed_at[1]
