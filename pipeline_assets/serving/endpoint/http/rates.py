"""Rate limits: a bucket of requests for each client, refilled steadily. Pure; the clock is an argument."""

from collections import OrderedDict

CLIENTS = 10_000
"""Clients remembered; the one unseen for longest is forgotten, with a full bucket."""


class Rates:
    """Allows `per_s` requests a second of each client, and bursts of two seconds' worth. 0: no limit."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._burst = per_s, max(2 * per_s, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, now_s: float) -> float:
        """0 if the client may send a request now, which counts; else the seconds until it may."""
        if not self._per_s:
            return 0.0
        left, before_s = self._buckets.pop(client, (self._burst, now_s))
        left = min(self._burst, left + max(0.0, now_s - before_s) * self._per_s)
        is_allowed = left >= 1
        self._buckets[client] = (left - is_allowed, now_s)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) / self._per_s
