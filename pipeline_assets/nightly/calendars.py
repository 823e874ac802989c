"""Which days of each asset should exist, and the order in which a night computes the assets, from their declarations."""

from collections.abc import Iterable, Mapping

from pipeline_assets.catalog import DECLARED
from pipeline_assets.framework.declaration import Calendar, Declaration

VARIANTS_GROUP = "variants"


def calendars(declared: Mapping[str, Declaration]) -> dict[str, Calendar]:
    """The calendar of each asset: the declared one, else one derived from its inputs.

    An asset that reads an asset of nights has the calendar of nights; one that reads only assets of logs has that of the
    logs; every other asset follows the uploads.
    """
    calendar_by_asset: dict[str, Calendar] = {}
    for name in in_order(declared):
        reads = {calendar_by_asset[up] for up in declared[name].inputs if up in calendar_by_asset}
        inferred: Calendar = "nights" if "nights" in reads else "logs" if reads == {"logs"} else "uploads"
        calendar_by_asset[name] = declared[name].days or inferred
    return calendar_by_asset


def in_order(declared: Mapping[str, Declaration]) -> list[str]:
    """The assets in topological order: each after its inputs, ties in order of declaration."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        for upstream in declared[name].inputs:
            if upstream in declared and upstream not in ordered:
                visit(upstream)
        ordered.setdefault(name)

    for name in declared:
        visit(name)
    return list(ordered)


def _variants_and_readers(declared: Mapping[str, Declaration]) -> set[str]:
    """The assets of the variants group and all assets that read them."""
    assets: set[str] = set()
    for name in in_order(declared):
        if declared[name].group == VARIANTS_GROUP or assets & set(declared[name].inputs):
            assets.add(name)
    return assets


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    selected = set(names)
    return tuple(in_order({name: asset for name, asset in DECLARED.items() if name in selected}))


CALENDARS = calendars(DECLARED)
VARIANTS = _in_order(name for name in _variants_and_readers(DECLARED) if CALENDARS[name] == "uploads")
LOGS = _in_order(name for name, calendar in CALENDARS.items() if calendar == "logs" and not DECLARED[name].inputs)
LOG_READERS = _in_order(name for name, calendar in CALENDARS.items() if calendar == "logs" and DECLARED[name].inputs)
"""Assets of the days of logs that read others: their days are computed after the photos'."""
MODEL = _in_order(name for name, calendar in CALENDARS.items() if calendar == "nights")
NEWEST = _in_order(name for name, calendar in CALENDARS.items() if calendar == "newest")
"""Assets of which only the newest day of the log is of use."""
PHOTOS = _in_order(DECLARED.keys() - {*VARIANTS, *LOGS, *LOG_READERS, *MODEL, *NEWEST})
TABLES = (*_in_order([*LOGS, *PHOTOS, *LOG_READERS]), *VARIANTS)
ASSETS = (*TABLES, *NEWEST, *MODEL)
"""All assets, in the order in which a night computes them."""
