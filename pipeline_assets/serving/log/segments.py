"""Segments of the serving log to rows: JSON lines of the endpoint, each judged; a bad one is set aside with its reason."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from pipeline_assets.features.history import FEATURES
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.logs.events import MAX_RAW_CHARACTERS
from pipeline_assets.ingestion.logs.log_files import Damage, line_blocks
from pipeline_assets.runtime import strict_json
from pipeline_assets.serving.log.schemas import ServingLog

MAX_BYTES = 2**28
"""Of one segment, expanded."""
_SCHEMA = dict(ServingLog.create_empty().schema)
_MEASURES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")
_REJECTED = dict(Rejected.create_empty().schema)
_ASIDE = ("day", "source", "reason", "detail", "raw")


def rows_of(day: date, segments: Iterable[tuple[str, bytes]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `ServingLog` with no `outcome` yet, and of `Rejected`; a repeated ask counts once.

    segments: keys and bytes, of one day.
    """
    rows: dict[str, dict[str, Any]] = {}
    rejected: list[tuple[date, str, str, str, str | None]] = []
    for key, data in segments:
        number = 0
        for block in line_blocks(data, MAX_BYTES):
            if isinstance(block, Damage):
                rejected.append((day, key, block.reason, block.detail, None))
                break
            for line in block.splitlines():
                number += 1
                try:
                    row = _row(day, strict_json.loads(line))
                    rows.setdefault(row["ask_id"], row)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raw = line.decode("utf-8", "replace")[:MAX_RAW_CHARACTERS]
                    rejected.append((day, f"{key}:{number}", "bad_line", f"{type(error).__name__}: {error!s:.200}", raw))
    ordered = [rows[ask_id] for ask_id in sorted(rows)]
    aside = pl.DataFrame(rejected, schema={name: _REJECTED[name] for name in _ASIDE}, orient="row")
    return pl.DataFrame(ordered, schema=_SCHEMA, orient="row"), aside.select(list(_REJECTED))


def _row(day: date, line: Mapping[str, Any]) -> dict[str, Any]:
    """One line as a row. Raises KeyError, TypeError or ValueError for what is none."""
    columns, model, shadow = line.get("columns") or {}, line.get("model") or {}, line.get("shadow") or {}
    asked_at = datetime.fromisoformat(line["asked_at"])
    if asked_at.date() != day:
        raise ValueError(f"asked on {asked_at.date()}, in a segment of {day}")
    return {
        "day": day,
        **{name: str(line[name]) for name in ("ask_id", "request_id", "route")},
        **{name: datetime.fromisoformat(line[name]) for name in ("as_of", "t0", "known_through")},
        "asked_at": asked_at,
        "user_id": _whole(line["user_id"]),
        "generation": _whole(line["generation"]),
        **{name: _whole(line["features"][name]) for name in FEATURES[:-1]},
        FEATURES[-1]: _real(line["features"][FEATURES[-1]]),
        "sha256": line.get("sha256"),
        "title_length": _whole(columns.get("title_length")),
        "has_location": columns.get("has_location"),
        "followers_at_post": _whole(columns.get("followers_at_post")),
        **{name: _real(columns.get(name)) for name in _MEASURES},
        **{name: _real(line.get(name)) for name in ("popularity", "low", "high")},
        "model_sha256": model.get("sha256"),
        "pin_identity": model.get("pin"),
        "night": date.fromisoformat(model["night"]) if model else None,
        "shadow_sha256": shadow.get("sha256"),
        "shadow_popularity": _real(shadow.get("popularity")),
    }


def _whole(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63):
        raise ValueError(f"{value!r:.40} is no whole number")
    return value


def _real(value: Any) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{value!r:.40} is no number")
    return None if value is None else float(value)
