"""Ports that no other test takes, and no server for itself."""

import itertools
import os
import random

from resources.servers.processes import PORTS, is_free

EACH = 800
"""How many ports a process of tests has."""
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_own = range(23_000 + _worker * EACH, 23_000 + (_worker + 1) * EACH)
# Two runs of the suite on one machine are unlikely to meet: each begins somewhere else.
_next = itertools.cycle(random.SystemRandom().sample(_own, EACH))
assert _own.start >= PORTS.stop


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, another at each call.

    Servers of Darkroom take theirs from `PORTS`, at any time between this call and the port's use.
    """
    return next(port for port in _next if is_free(port))
