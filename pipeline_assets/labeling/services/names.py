"""The names of the formats, for commands that have no time to load them. `registry.py` has the formats themselves."""

from collections.abc import Mapping

ABOUT: Mapping[str, str] = {
    "label-studio": "Label Studio JSON: tasks with predictions out, its JSON export in",
    "labelbox": "Labelbox NDJSON: data rows and predictions out, its export in",
    "scale": "Scale AI JSON: tasks with a hypothesis out, finished tasks in",
    "supervisely": "Supervisely: a project folder with one JSON for each image, out and in",
    "appen": "Appen / Figure Eight CSV: rows to upload out, the full report in",
    "mturk": "Amazon Mechanical Turk: the CSV of a batch out, the CSV of its results in",
    "csv": "plain CSV for people hired by the hour: one row a task, answered in the column `answer`",
    "coco": "COCO JSON: boxes, polygons, masks as runs, keypoints",
    "cvat": "CVAT for images 1.1: one XML, with rotation, out and in",
    "yolo": "YOLO: upright boxes, or outlines of polygons and masks",
    "yolo-obb": "YOLO with oriented boxes, by their four corners",
    "voc": "Pascal VOC: an XML for each image, upright boxes in whole pixels",
}
"""What each format is, in a line."""
NAMELESS = frozenset({"coco", "cvat", "yolo", "yolo-obb", "voc"})
"""Formats of data sets: they say nothing of who answered."""
