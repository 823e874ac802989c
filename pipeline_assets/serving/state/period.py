"""The moments that a generation of states answers, as microseconds since 1970.

Values in the store do not contain these moments, so that the value of an inactive user is the same every night. Whoever
reads or changes values passes the period of their generation.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

HORIZON = timedelta(hours=36)
"""States answer for so long after the end of their day: a nightly run may be half a day late."""
LONGEST_HORIZON = timedelta(days=7)
SETTLING = timedelta(hours=1)
"""Deliveries that arrived up to this long before t0, but were not in the log when a generation was built, count exactly."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of a moment with a zone."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """The moment so many microseconds after 1970, UTC."""
    return _EPOCH + microseconds * _MICROSECOND


@dataclass(frozen=True)
class Period:
    """States of this period answer the moments from t0 to t0 + horizon, both inclusive.

    Raises ValueError unless 0 < horizon <= LONGEST_HORIZON.
    """

    t0: datetime
    horizon: timedelta

    def __post_init__(self) -> None:
        if not timedelta(0) < self.horizon <= LONGEST_HORIZON:
            raise ValueError(f"The horizon is {self.horizon}: it must be more than 0 and at most {LONGEST_HORIZON}.")

    @property
    def end(self) -> datetime:
        """The last moment that these states answer."""
        return self.t0 + self.horizon

    @cached_property
    def start_us(self) -> int:
        """Of t0, in microseconds since 1970."""
        return microseconds(self.t0)

    @cached_property
    def end_us(self) -> int:
        """Of the last moment, in microseconds since 1970."""
        return microseconds(self.end)

    @cached_property
    def settled_us(self) -> int:
        """Deliveries known before this, in microseconds since 1970, are final: no later delivery takes their place."""
        return microseconds(self.t0 - SETTLING)
