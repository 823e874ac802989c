"""The marks of a photo: its boxes, masks and points, which go through all changes together. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_assets.labeling import boxes, masks, points
from pipeline_assets.variants.photos.effects import Matrix

KEYS = ("boxes", "masks", "points")
"""Keys of labels that say where something is in a photo."""


@dataclass(frozen=True)
class Marks:
    """Boxes, masks and points on one canvas."""

    boxes: list[boxes.Box]
    masks: list[masks.Mask]
    points: list[points.Point]

    def moved(self, matrix: Matrix, width: float, height: float) -> "Marks":
        """See `boxes.moved`."""
        size = (width, height)
        return Marks(
            boxes.moved(self.boxes, matrix, *size),
            masks.moved(self.masks, matrix, *size),
            points.moved(self.points, matrix, *size),
        )

    def covered(self, left: float, top: float, right: float, bottom: float) -> "Marks":
        """See `boxes.covered`."""
        place = (left, top, right, bottom)
        return Marks(
            boxes.covered(self.boxes, *place), masks.covered(self.masks, *place), points.covered(self.points, *place)
        )

    def clipped(self, left: float, top: float, right: float, bottom: float) -> "Marks":
        """See `boxes.clipped`."""
        place = (left, top, right, bottom)
        return Marks(
            boxes.clipped(self.boxes, *place), masks.clipped(self.masks, *place), points.clipped(self.points, *place)
        )

    def __add__(self, other: "Marks") -> "Marks":
        return Marks(self.boxes + other.boxes, self.masks + other.masks, self.points + other.points)

    def to_labels(self, width: float, height: float) -> dict[str, Any]:
        """As labels, by KEYS."""
        return {
            "boxes": boxes.to_labels(self.boxes, width, height),
            "masks": masks.to_labels(self.masks, width, height),
            "points": points.to_labels(self.points, width, height),
        }


NONE = Marks([], [], [])


def read(labels: Mapping[str, Any]) -> Marks:
    """The marks in labels. Raises UnfitParent(bad_labels)."""
    return Marks(boxes.read(labels), masks.read(labels), points.read(labels))


def problems(labels: Mapping[str, Any], width: int, height: int) -> list[str]:
    """The errors in a variant's boxes, masks and points, in sentences."""
    faults = boxes.problems(labels.get("boxes", []), width, height)
    faults += masks.problems(labels.get("masks", []), width, height)
    return faults + points.problems(labels.get("points", []), width, height)
