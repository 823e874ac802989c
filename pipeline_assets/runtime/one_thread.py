"""Linear algebra on one thread: sums do not depend on how many cores there are, and small products take less CPU time."""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

_LIBRARIES = (("numpy", "64_"), ("scipy", ""))
"""The wheels that bring an OpenBLAS of their own, and what the names of its functions end with."""
_TURN = threading.RLock()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for the products of numpy, scipy and torch within; afterwards as many as before.

    It holds for the whole process, so blocks of other Python threads wait for their turn. A build of numpy on another
    library than OpenBLAS keeps its threads.
    """
    with _TURN:
        pools = [*_openblas(), *_torch()]
        before = [count() for count, _ in pools]
        try:
            for _, use in pools:
                use(1)
            yield
        finally:
            for (_, use), threads in zip(pools, before, strict=True):
                use(threads)


@cache
def _openblas() -> tuple[tuple[Callable[[], int], Callable[[int], Any]], ...]:
    import numpy as np

    packages = Path(np.__file__).parents[1]
    found = []
    for package, ending in _LIBRARIES:
        for folder in (packages / f"{package}.libs", packages / package / ".dylibs"):
            for path in sorted(folder.glob("*openblas*")):
                library = ctypes.CDLL(str(path))
                names = (f"scipy_openblas_{verb}_num_threads{ending}" for verb in ("get", "set"))
                count, use = (getattr(library, name, None) for name in names)
                if count and use:
                    found.append((count, use))
    return tuple(found)


def _torch() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    torch = sys.modules.get("torch")
    return [(torch.get_num_threads, torch.set_num_threads)] if torch else []
