"""One timestamp of a log line or a message: a moment in UTC, or the true reason why it names none."""

import re
from datetime import UTC, datetime

FIRST_YEAR, LAST_YEAR = 1970, 2999
BULK_TIMESTAMP = (
    r"^(?:197[1-9]|19[89][0-9]|2[0-8][0-9]{2})-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])$"
)
"""The usual writings, which Arrow reads as `parse_timestamp` does. No offset leads out of the years that it takes."""

_SHAPE = re.compile(r"[0-9W-]+[T ][0-9:.,]+(?:Z|[+-][0-9:]+)", re.ASCII)
_WITHOUT_ZONE = re.compile(r"[0-9W-]+[T ][0-9:.,]+", re.ASCII)
_LEAP_SECOND = re.compile(r"[T ][0-9]{2}:?[0-9]{2}:?60(?![0-9])")


class BadTimestamp(ValueError):
    """A text that names no moment. Its message ends a sentence that begins with the text."""


def parse_timestamp(text: str) -> datetime:
    """The moment, in UTC, that a text names in ISO 8601 or RFC 3339.

    A day, a `T` or a space, a time of day (seconds and their fraction may be left out), and `Z` or an offset; `t` and `z`
    count too. Digits after the microseconds are cut off. Raises BadTimestamp.
    """
    upper = text.upper()
    if not _SHAPE.fullmatch(upper):
        if _WITHOUT_ZONE.fullmatch(upper):
            raise BadTimestamp("has no zone: end it with Z or an offset such as +02:00")
        raise BadTimestamp("is not a time of ISO 8601 such as 2026-01-31T12:00:00Z")
    if _LEAP_SECOND.search(upper):
        raise BadTimestamp("is a leap second, which no clock here has: write the second before it")
    try:
        moment = datetime.fromisoformat(upper)
    except ValueError as error:
        raise BadTimestamp(f"is not a time of ISO 8601 such as 2026-01-31T12:00:00Z: {error!s:.100}") from None
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise BadTimestamp(_OUT_OF_RANGE) from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise BadTimestamp(_OUT_OF_RANGE)
    return moment


_OUT_OF_RANGE = f"is not of the years {FIRST_YEAR} to {LAST_YEAR}"
