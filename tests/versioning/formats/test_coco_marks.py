"""COCO's annotations as labels: boxes, masks and crowds come in, what can't be is listed, and costs no other."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from formats_world import jpeg
from PIL import Image
from pycocotools import mask as coco_mask

from pipeline_assets.labeling.label_json import MAX_CHARACTERS
from pipeline_assets.versioning.formats.coco import reading
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.storing import write_files

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
GOOD = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 3, 10, 12.5]}
BOX = {"x": 2, "y": 3, "width": 10, "height": 12.5, "label": "cat"}
SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]
RLE = {"size": [30, 40], "counts": [5 * 30 + 5, 10, 20, 10, 1200 - 195]}
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}


def written(folder: Path, annotations: Any, images: Any = (IMAGE,), **parts: Any) -> Path:
    """A COCO folder whose image of 40 x 30 pixels is a.jpg."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(jpeg(1))
    told = {"images": list(images), "annotations": annotations, "categories": CATEGORIES, **parts}
    (folder / "annotations.json").write_text(json.dumps(told))
    return folder


def read(source: Path) -> tuple[list[dict[str, Any]], list[Rejected]]:
    found = list(reading.batches(source, Reading()))
    rows = [row for batch in found if isinstance(batch, Batch) for row in batch.rows.to_dicts()]
    return rows, [one for one in found if isinstance(one, Rejected)]


def labels(source: Path) -> tuple[dict[str, Any], list[Rejected]]:
    [row], aside = read(source)
    return json.loads(row["labels_json"] or "{}"), aside


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"category_id": 55}, "category 55"),
        ({"category_id": "3"}, "category '3'"),
        ({"category_id": [3]}, "category [3]"),
        ({"bbox": [2, 3, -10, 12]}, "no area"),
        ({"bbox": [2, 3, 0, 12]}, "no area"),
        ({"bbox": [0, 0, 0, 0]}, "no area"),
        ({"bbox": [2, 3, -10, -12]}, "no area"),
        ({"bbox": [2, 3, float("nan"), 12]}, "not finite"),
        ({"bbox": [2, 3, 1e999, 12]}, "not finite"),
        ({"bbox": [2, 3, 10**400, 12]}, "not finite"),
        ({"bbox": [2, 3, 12]}, "bbox is"),
        ({"bbox": "all"}, "bbox is"),
        ({"bbox": ["2", 3, 4, 5]}, "needs numbers"),
        ({"bbox": [35, 3, 10, 10]}, "on an image of 40 x 30"),
        ({"bbox": [-3, 3, 10, 10]}, "on an image of 40 x 30"),
        ({"bbox": [], "segmentation": [[1, 2, 3, 4]]}, "three points"),
        ({"bbox": None, "segmentation": [[1, 1, 2, 2, 3, 3]]}, "no area"),
        ({"bbox": None, "segmentation": [[1, 1, 50, 2, 3, 30]]}, "on an image of 40 x 30"),
        ({"bbox": None, "segmentation": "all"}, "needs polygons"),
        ({"bbox": None, "segmentation": {"size": [40, 30], "counts": [1200]}}, "height, width"),
        ({"bbox": None, "segmentation": {"size": [30, 40], "counts": [5]}}, "runs of a mask"),
        ({"bbox": None, "segmentation": {"size": [30, 40], "counts": "~"}}, "COCO does not write"),
        ({"image_id": 9}, "of no image"),
        ({"image_id": None}, "of no image"),
        ({"image_id": [1]}, "of no image"),
        ({"score": float("inf")}, "not finite"),
        ({"note": "\0"}, "NUL"),
    ],
)
def test_an_annotation_that_can_not_be_is_listed_and_costs_no_other(tmp_path: Path, bad: Any, told: str) -> None:
    found, aside = labels(written(tmp_path / "in", [GOOD, GOOD | {"id": 7} | bad, GOOD | {"id": 8}]))
    assert found == {"boxes": [BOX, BOX]}
    [one] = aside
    assert (one.reason, told in one.detail, "annotation 7" in one.source) == ("bad_annotation", True, True), one


def test_an_annotation_without_an_image_or_that_is_none_is_listed(tmp_path: Path) -> None:
    without = {key: value for key, value in GOOD.items() if key != "image_id"}
    found, aside = labels(written(tmp_path / "in", [without, 7, None, GOOD]))
    assert found == {"boxes": [BOX]}
    assert [one.detail for one in aside] == ["it has no image_id", *["an annotation is an object"] * 2]


def test_polygons_and_runs_become_masks_of_their_objects(tmp_path: Path) -> None:
    packed = coco_mask.frPyObjects(RLE, 30, 40)
    runs = [RLE, {"size": packed["size"], "counts": packed["counts"].decode()}]
    annotations = [GOOD | {"segmentation": one} for one in ([SQUARE, SQUARE], *runs)]
    found, aside = labels(written(tmp_path / "in", annotations))
    assert aside == []
    assert found["boxes"] == [BOX] * 3
    assert found["masks"][0] == {"label": "cat", "polygons": [SQUARE, SQUARE]}
    assert found["masks"][1] == found["masks"][2] == {"label": "cat", "polygons": [[5, 5, 7, 5, 7, 15, 5, 15]]}


def test_a_crowd_is_a_mask_and_no_object(tmp_path: Path) -> None:
    crowd = GOOD | {"iscrowd": 1}
    found, aside = labels(written(tmp_path / "in", [crowd, crowd | {"segmentation": RLE}, GOOD]))
    assert (found["boxes"], aside) == ([BOX], [])
    around, mask = found["masks"]
    assert around == {"label": "cat", "crowd": True, "polygons": [[2, 3, 12, 3, 12, 15.5, 2, 15.5]]}
    assert mask == {"label": "cat", "crowd": True, "polygons": [[5, 5, 7, 5, 7, 15, 5, 15]]}


def test_a_good_mask_stays_beside_a_bad_box_and_a_good_box_beside_a_bad_mask(tmp_path: Path) -> None:
    annotations = [GOOD | {"segmentation": [[1, 2]]}, GOOD | {"bbox": [1, 1, -1, 1], "segmentation": [SQUARE]}]
    found, aside = labels(written(tmp_path / "in", annotations))
    assert found == {"boxes": [BOX], "masks": [{"label": "cat", "polygons": [SQUARE]}]}
    assert len(aside) == 2


def test_labels_that_are_too_many_to_be_kept_lose_their_largest_masks_and_say_so(tmp_path: Path) -> None:
    large = [value for n in range(60_000) for value in (n % 40, n % 30 + n % 7 / 7)]
    annotations = [GOOD, GOOD | {"segmentation": [large]}, GOOD | {"segmentation": [SQUARE]}]
    found, aside = labels(written(tmp_path / "in", annotations))
    assert found == {"boxes": [BOX] * 3, "masks": [{"label": "cat", "polygons": [SQUARE]}]}
    assert "too much" in aside[0].detail
    assert len(json.dumps(found)) < MAX_CHARACTERS


def test_a_size_that_is_not_the_pictures_makes_its_marks_untrue(tmp_path: Path) -> None:
    found, aside = labels(written(tmp_path / "in", [GOOD], images=[IMAGE | {"width": 80, "height": 60}]))
    assert (found, len(aside)) == ({}, 1)
    assert "80 x 60, and the picture has 40 x 30" in aside[0].detail


def test_a_picture_that_lies_on_its_side_is_measured_upright(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", [GOOD | {"bbox": [2, 3, 10, 36]}], images=[IMAGE | {"width": 30, "height": 40}])
    sink, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(sink, "JPEG", exif=exif)
    (folder / "images" / "a.jpg").write_bytes(sink.getvalue())
    assert labels(folder)[0] == {"boxes": [BOX | {"height": 36}]}


def test_images_of_one_name_or_id_come_once(tmp_path: Path) -> None:
    images = [IMAGE, IMAGE | {"id": 2}, IMAGE | {"file_name": "b.jpg"}]
    folder = written(tmp_path / "in", [GOOD], images=images)
    (folder / "images" / "b.jpg").write_bytes(jpeg(2))
    rows, aside = read(folder)
    assert ([row["coco_file_name"] for row in rows], [one.reason for one in aside]) == (["a.jpg"], ["duplicate"] * 2)


def test_categories_that_make_no_sense_cost_their_annotations_alone(tmp_path: Path) -> None:
    categories = [*CATEGORIES, {"id": [1], "name": "x"}, {"id": 9}, 7, {"id": 10, "name": "\0"}]
    annotations = [GOOD, GOOD | {"category_id": 9}, GOOD | {"category_id": 10}]
    found, aside = labels(written(tmp_path / "in", annotations, categories=categories))
    assert (found, len(aside)) == ({"boxes": [BOX]}, 2)


@pytest.mark.parametrize(
    ("json_at", "image_at"),
    [
        ("annotations/instances_val.json", "val/a.jpg"),
        ("annotations/instances_val.json", "images/a.jpg"),
        ("annotations/instances_val2017.json", "val2017/a.jpg"),
        ("annotations/instances_val2017.json", "images/val2017/a.jpg"),
        ("annotations/instances_default.json", "a.jpg"),
        ("instances_val.json", "images/a.jpg"),
        ("train/_annotations.coco.json", "train/a.jpg"),
    ],
)
def test_a_usual_layout_is_found_when_its_folder_is_named(tmp_path: Path, json_at: str, image_at: str) -> None:
    for path in (tmp_path / json_at, tmp_path / image_at):
        path.parent.mkdir(parents=True, exist_ok=True)
    told = {"images": [IMAGE], "annotations": [GOOD], "categories": CATEGORIES}
    (tmp_path / json_at).write_text(json.dumps(told))
    (tmp_path / image_at).write_bytes(jpeg(1))
    for source in (tmp_path, tmp_path / json_at):
        assert labels(source) == ({"boxes": [BOX]}, [])


def test_parts_of_one_data_set_come_in_together_with_their_captions(tmp_path: Path) -> None:
    (tmp_path / "in/annotations").mkdir(parents=True)
    for n, part in enumerate(("train2017", "val2017")):
        (tmp_path / "in" / part).mkdir()
        (tmp_path / "in" / part / "a.jpg").write_bytes(jpeg(n))
        told = {"images": [IMAGE], "annotations": [GOOD], "categories": CATEGORIES}
        captions = {"images": [IMAGE], "annotations": [{"id": 1, "image_id": 1, "caption": part}]}
        for name, parts in (("instances", told), ("captions", captions)):
            (tmp_path / f"in/annotations/{name}_{part}.json").write_text(json.dumps(parts))
    rows, aside = read(tmp_path / "in")
    assert ([row["coco_captions"] for row in rows], aside) == ([["train2017"], ["val2017"]], [])
    (tmp_path / "out").mkdir()
    found, reasons = write_files(reading.batches(tmp_path / "in", Reading()), tmp_path / "out")
    assert (found, reasons) == ({f"{part}/a.jpg": {"boxes": [BOX]} for part in ("train2017", "val2017")}, {})
