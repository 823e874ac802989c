"""When events arrive: times that never fall, also if this machine's clock is set back or the process is restarted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline_assets.errors import ClockSetBack

MAX_SET_BACK = timedelta(minutes=15)
"""A clock that is further back is no correction: either it is wrong now, or it was wrong before."""
_MICROSECOND = timedelta(microseconds=1)


def _now() -> datetime:
    return datetime.now(UTC)


class Arrivals:
    """Stamps for what arrives. newest: the newest stamp in use; all that follow are later. clock: at the last stamp."""

    def __init__(self, newest: datetime, now: Callable[[], datetime] = _now) -> None:
        self.newest = self.clock = newest
        self._now = now

    def next(self) -> datetime:
        """A stamp later than all before, and not before the clock. Raises ClockSetBack."""
        now = self.clock = self._now()
        if self.newest - now > MAX_SET_BACK:
            raise ClockSetBack(
                f"This machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, and the newest event arrived at "
                f"{self.newest:%Y-%m-%d %H:%M:%S}: set the clock. No event is taken while it is more than "
                f"{MAX_SET_BACK // timedelta(minutes=1)} minutes behind."
            )
        self.newest = max(now, self.newest + _MICROSECOND)
        return self.newest

    def reach(self, moment: datetime) -> None:
        """Make all stamps that follow later than a moment."""
        self.newest = max(self.newest, moment)
