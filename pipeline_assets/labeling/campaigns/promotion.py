"""Consensuses become labels of uploads and titles, beside those of the application, and with their provenance. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.labeling import annotations, label_json, rle
from pipeline_assets.labeling.campaigns.answer import MARKS
from pipeline_assets.labeling.schemas import Annotations

NAMES = {"class": "classes", "classes": "classes", "text": "texts", "ranking": "rankings"}
"""Where labels have the answers of these kinds, by the name of the campaign."""
ROW = ("day", "key", "target")
_JUDGED = (*ROW, "labels_json", "annotator", "annotated_at")
_OTHER_CONTENT = UnfitParent("other_content", "the upload has another content now: the question was about an earlier one")


def promoted(label_consensus: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The consensuses that become labels, and rows of `Rejected`: those that no label can hold.

    One row for each item, content of it, and campaign: of the newest version of the question. Returns day, key, target,
    sha256, campaign, version, labels_json, annotator (null), annotated_at, provenance_json.
    """
    rows = (
        label_consensus.filter("is_promoted")
        .sort("version", "answered_at", "task_key")
        .unique([*ROW, "sha256", "campaign"], keep="last", maintain_order=True)
        .sort(*ROW, "campaign", "sha256")
        .collect()
    )
    labels: list[str | None] = []
    rejected = []
    for row in rows.iter_rows(named=True):
        try:
            labels.append(_labels(row))
        except (rle.BadRle, UnfitParent) as fault:
            unfit = fault if isinstance(fault, UnfitParent) else UnfitParent("bad_labels", str(fault))
            labels.append(None)
            rejected.append(_reject(row | {"labels_json": row["answer_json"]}, unfit))
    accepted = rows.select(
        *ROW,
        "sha256",
        "campaign",
        "version",
        labels_json=pl.Series(labels, dtype=pl.String),
        annotator=pl.lit(None, pl.String),
        annotated_at="answered_at",
        provenance_json=pl.Series([_provenance(row) for row in rows.iter_rows(named=True)], dtype=pl.String),
    ).drop_nulls("labels_json")
    return accepted, pl.DataFrame(rejected, schema=Rejected.create_empty().schema)


def merged(own: pl.DataFrame, consensus: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `Annotations`: the application's labels with what campaigns add to them; and of `Rejected`.

    The application's marks of a kind stay as they are: those of a campaign are rejected then, and so are those of another
    content. own: rows of `Annotations`; consensus: rows of `promoted` that fit their upload.
    """
    rows = {tuple(row[name] for name in ROW): dict(row) for row in own.iter_rows(named=True)}
    own_labels = {place: json.loads(row["labels_json"]) for place, row in rows.items()}
    rejected = []
    for added in consensus.iter_rows(named=True):
        place = tuple(added[name] for name in ROW)
        row = rows.get(place)
        if row is None:
            rows[place] = {**added, "provenance_json": _listed(added)}
            continue
        try:
            rows[place] = _with(row, added, own_labels.get(place, {}))
        except UnfitParent as unfit:
            rejected.append(_reject(added, unfit))
    schemas = Annotations.create_empty().schema, Rejected.create_empty().schema
    columns = [{name: row.get(name) for name in schemas[0]} for row in rows.values()]
    return pl.DataFrame(columns, schema=schemas[0]).sort(*ROW), pl.DataFrame(rejected, schema=schemas[1])


def fitting(
    consensus: pl.DataFrame, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of `promoted` with the marks that fit their upload, and rows of `Rejected`.

    Those of a content that the upload no longer has are rejected. Of what is left of an item and a campaign, the newest
    version of the question counts, and of one version the newest answer.
    """
    fitting = [consensus.clear()]
    rejected: list[pl.DataFrame] = [Rejected.create_empty()]
    # Each group has an item once: a row for each of its contents would be judged as one.
    turns = consensus.with_columns(turn=pl.int_range(pl.len()).over(*ROW, "campaign"))
    for _, rows in turns.group_by("campaign", "turn", maintain_order=True):
        accepted, invalid = annotations.judge(rows.select(*_JUDGED), raw_uploads, photo_metadata)
        found = accepted.select(*ROW, now="sha256", fitting="labels_json")
        both = rows.join(found, on=ROW, how="inner", maintain_order="left")
        is_same = pl.col("now") == pl.col("sha256")
        changed = [_reject(row, _OTHER_CONTENT) for row in both.filter(~is_same).iter_rows(named=True)]
        rejected += [invalid, pl.DataFrame(changed, schema=rejected[0].schema)]
        fitting.append(both.filter(is_same).with_columns(labels_json="fitting").select(consensus.columns))
    newest = (
        pl.concat(fitting)
        .sort("version", "annotated_at", "sha256")
        .unique([*ROW, "campaign"], keep="last", maintain_order=True)
        .sort("campaign", *ROW)
    )
    return newest, pl.concat(rejected)


def _labels(row: Mapping[str, Any]) -> str:
    """A consensus in the form of labels: pixels of upright boxes and of polygons, which variants carry on."""
    answer = json.loads(row["answer_json"])
    kind = row["kind"]
    if kind in NAMES:
        return label_json.dump({NAMES[kind]: {row["campaign"]: next(iter(answer.values()))}})
    marks = answer[MARKS[kind]]
    if kind == "boxes":
        upright, turned = [mark for mark in marks if not mark.get("rotation")], [m for m in marks if m.get("rotation")]
        labels: dict[str, Any] = {"boxes": [{n: v for n, v in mark.items() if n != "rotation"} for mark in upright]}
        return label_json.dump(labels | ({"masks": list(map(_turned, turned))} if turned else {}))
    if MARKS[kind] == "masks":
        marks = [_with_polygons(mark) for mark in marks]
    return label_json.dump({MARKS[kind]: marks})


def _turned(box: Mapping[str, Any]) -> dict[str, Any]:
    """A turned box as a polygon: labels have upright boxes only."""
    angle = np.deg2rad(box["rotation"])
    across, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corner, width, height = np.array([box["x"], box["y"]]), box["width"] * across, box["height"] * down
    corners = np.stack([corner, corner + width, corner + width + height, corner + height])
    extra = {name: value for name, value in box.items() if name not in ("x", "y", "width", "height", "rotation")}
    return {**extra, "polygons": [corners.round(2).ravel().tolist()]}


def _with_polygons(mask: Mapping[str, Any]) -> dict[str, Any]:
    if "rle" not in mask:
        return dict(mask)
    return {**{name: value for name, value in mask.items() if name != "rle"}, "polygons": rle.polygons(mask["rle"])}


def _provenance(row: Mapping[str, Any]) -> str:
    names = ("campaign", "version", "method", "votes", "adjudicator")
    return json.dumps({name: row[name] for name in names}, sort_keys=True)


def _listed(row: Mapping[str, Any]) -> str:
    return f"[{row['provenance_json']}]"


def _with(row: dict[str, Any], added: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the labels of one more campaign. own: the application's. Raises UnfitParent if they contradict these."""
    if row["sha256"] != added["sha256"]:
        raise UnfitParent("other_content", "the application's labels are of another content of this key")
    labels, more = json.loads(row["labels_json"]), json.loads(added["labels_json"])
    if taken := sorted(_taken(own, more)):
        raise UnfitParent("application_decides", f"the application's annotation has its own {', '.join(taken)}")
    for name, value in more.items():
        there = labels.get(name)
        labels[name] = {**(there or {}), **value} if isinstance(value, dict) else [*(there or []), *value]
    known = json.loads(row["provenance_json"] or "[]")
    provenance = json.dumps([*known, json.loads(added["provenance_json"])], sort_keys=True)
    newest = max(row["annotated_at"], added["annotated_at"])
    return {**row, "labels_json": label_json.dump(labels), "annotated_at": newest, "provenance_json": provenance}


def _taken(own: Mapping[str, Any], more: Mapping[str, Any]) -> Iterator[str]:
    """The names of the application's labels that can't take those of a campaign beside them."""
    for name, value in more.items():
        there = own.get(name)
        has_room = isinstance(there, dict) and isinstance(value, dict) and not set(there) & set(value)
        if there and not has_room:
            yield name


def _reject(row: Mapping[str, Any], unfit: UnfitParent) -> dict[str, Any]:
    source = f"{row['key']} {row['target']} campaigns/{row['campaign']}.yaml"
    return {
        "day": row["day"],
        "source": source,
        "reason": unfit.reason,
        "detail": unfit.detail,
        "raw": row["labels_json"][:2000],
    }
