"""Counters, gauges and histograms in Prometheus' text format.

Source: Prometheus, Exposition formats, text-based format 0.0.4.
"""

import threading
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECENT = 1_000
"""Durations of a route that quantiles are taken of."""
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Numbers of one process, safe on threads. Label values come from the code alone, so that they are few.

    prefix: of all names.
    """

    def __init__(self, prefix: str = "darkroom_serve") -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._help: dict[str, str] = {}
        self._counts: dict[tuple[str, Labels], float] = defaultdict(float)
        self._buckets: dict[tuple[str, Labels], list[int]] = {}
        self._sums: dict[tuple[str, Labels], float] = defaultdict(float)
        self._recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._gauges: list[tuple[str, str, Callable[[], Mapping[Labels, float]]]] = []

    def count(self, name: str, about: str, by: float = 1, **labels: str) -> None:
        """Add to a counter. name: without the prefix."""
        with self._lock:
            self._help[name] = about
            self._counts[name, tuple(sorted(labels.items()))] += by

    def observe(self, route: str, seconds: float) -> None:
        """Add a request's duration to the histogram of its route."""
        key = ("request_seconds", (("route", route),))
        with self._lock:
            buckets = self._buckets.setdefault(key, [0] * (len(SECONDS) + 1))
            buckets[bisect_left(SECONDS, seconds)] += 1
            self._sums[key] += seconds
            self._recent[route].append(seconds)

    def gauge(self, name: str, about: str, values: Callable[[], Mapping[Labels, float]]) -> None:
        """Register a gauge whose values by labels are asked for with each scrape."""
        self._gauges.append((name, about, values))

    def quantiles(self, route: str) -> dict[str, float]:
        """p50 and p99 of the route's recent requests in milliseconds, and their number."""
        with self._lock:
            recent = sorted(self._recent[route])
        if not recent:
            return {"requests": 0}
        at = {"p50_ms": 0.5, "p99_ms": 0.99}
        found = {name: round(1000 * recent[min(int(share * len(recent)), len(recent) - 1)], 2) for name, share in at.items()}
        return {"requests": len(recent), **found}

    def total(self, name: str, label: str) -> dict[str, float]:
        """A counter's values by one of its labels."""
        totals: dict[str, float] = defaultdict(float)
        with self._lock:
            for (counter, labels), value in self._counts.items():
                if counter == name:
                    totals[dict(labels).get(label, "")] += value
        return dict(totals)

    def text(self) -> str:
        """Everything in Prometheus' text format."""
        gauges = [(name, about, dict(values())) for name, about, values in self._gauges]
        with self._lock:
            lines = [*self._counter_lines(), *self._histogram_lines()]
        for name, about, values in gauges:
            lines += [f"# HELP {self._prefix}_{name} {about}", f"# TYPE {self._prefix}_{name} gauge"]
            lines += [f"{self._prefix}_{name}{_braces(labels)} {value:g}" for labels, value in values.items()]
        return "\n".join(lines) + "\n"

    def _counter_lines(self) -> Iterator[str]:
        last = ""
        for (name, labels), value in sorted(self._counts.items()):
            if name != last:
                yield f"# HELP {self._prefix}_{name} {self._help[name]}"
                yield f"# TYPE {self._prefix}_{name} counter"
            last = name
            yield f"{self._prefix}_{name}{_braces(labels)} {value:.0f}"

    def _histogram_lines(self) -> Iterator[str]:
        if self._buckets:
            yield f"# HELP {self._prefix}_request_seconds duration of requests, without the transfer of their bodies"
            yield f"# TYPE {self._prefix}_request_seconds histogram"
        for (name, labels), buckets in sorted(self._buckets.items()):
            running = 0
            for limit, number in zip((*SECONDS, float("inf")), buckets, strict=True):
                running += number
                bound = "+Inf" if limit == float("inf") else f"{limit:g}"
                yield f"{self._prefix}_{name}_bucket{_braces((*labels, ('le', bound)))} {running}"
            yield f"{self._prefix}_{name}_sum{_braces(labels)} {self._sums[name, labels]:.6f}"
            yield f"{self._prefix}_{name}_count{_braces(labels)} {running}"


def _braces(labels: Labels) -> str:
    """Labels as `{name="value"}`, escaped; nothing without labels."""
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
    pairs = [f'{name}="{"".join(escapes.get(c, c) for c in value)}"' for name, value in labels]
    return "{" + ",".join(pairs) + "}" if pairs else ""
