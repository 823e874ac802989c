"""The formats, by name."""

from collections.abc import Mapping

from pipeline_assets.labeling.services import (
    appen,
    coco,
    cvat,
    label_studio,
    labelbox,
    mturk,
    scale,
    sheet,
    supervisely,
    voc,
    yolo,
)
from pipeline_assets.labeling.services.form import Format

FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        label_studio.FORMAT,
        labelbox.FORMAT,
        scale.FORMAT,
        supervisely.FORMAT,
        appen.FORMAT,
        mturk.FORMAT,
        sheet.FORMAT,
        coco.FORMAT,
        cvat.FORMAT,
        yolo.FORMAT,
        yolo.ORIENTED,
        voc.FORMAT,
    )
}
