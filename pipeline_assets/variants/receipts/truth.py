"""The position and visibility of each line of text in the picture, from the renderer's map of the paper."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pipeline_assets.variants.receipts.layout import Printed

NEAREST = 24
"""Pixels that a corner's place is told from: a plane through them."""
SEEN_WITHIN_PX = 1.1
"""A point of the paper is seen if a pixel shows paper that is as near as this to it."""
LEAST_SEEN = 0.02
POINTS = (24, 5)


def lines_seen(
    uv: npt.NDArray[np.float32], lines: Sequence[Printed], paper_px: tuple[int, int], pixel_in_paper_px: float
) -> list[dict[str, Any]]:
    """Labels of the visible lines: text, quad (clockwise from the top left, in pixels), visibility in [0, 1].

    uv: (H, W, 2), NaN off the paper. paper_px: width and height of the print. pixel_in_paper_px: print pixels per pixel.
    """
    rows, columns = np.nonzero(np.isfinite(uv[..., 0]))
    if len(rows) < NEAREST:
        return []
    places = np.stack([columns, rows], -1).astype(np.float64) + 0.5
    paper = uv[rows, columns].astype(np.float64) * np.array(paper_px, np.float64)
    tree, labels = cKDTree(paper), []
    for line in lines:
        left, top, right, bottom = line.box
        grid = np.stack(np.meshgrid(np.linspace(left, right, POINTS[0]), np.linspace(top, bottom, POINTS[1])), -1)
        distances, _ = tree.query(grid.reshape(-1, 2))
        visibility = float((distances < SEEN_WITHIN_PX * pixel_in_paper_px).mean())
        if visibility >= LEAST_SEEN:
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
            quad = np.array([_place(corner, tree, paper, places) for corner in corners])
            quad = np.clip(quad, 0, uv.shape[1::-1]).round(2)
            labels.append({"text": line.text, "quad": quad.tolist(), "visibility": round(visibility, 3)})
    return labels


def _place(
    corner: npt.NDArray[np.floating[Any]],
    tree: cKDTree,
    paper: npt.NDArray[np.floating[Any]],
    places: npt.NDArray[np.floating[Any]],
) -> npt.NDArray[np.floating[Any]]:
    """The pixel that shows a point of the paper: an affine fit through the pixels of the nearest points."""
    _, near = tree.query(corner, k=NEAREST)
    design = np.concatenate([paper[near] - corner, np.ones((NEAREST, 1))], axis=1)
    solved, *_ = np.linalg.lstsq(design, places[near], rcond=None)
    middle = places[near].mean(0)
    return middle + np.clip(solved[2] - middle, -8, 8)
