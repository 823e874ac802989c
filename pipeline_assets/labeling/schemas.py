"""Contracts of the labeling tables."""

import dataframely as dy

TARGETS = ("upload", "title")


class Annotations(dy.Schema):
    """What was marked in one upload or title, by day of the upload."""

    day = dy.Date(primary_key=True)
    key = dy.String(primary_key=True, description="object key of the upload")
    target = dy.String(
        primary_key=True,
        check=lambda c: c.is_in(list(TARGETS)),
        description="what of it was annotated: the `upload` itself, or its photo's `title`",
    )
    sha256 = dy.String(regex="^[0-9a-f]{64}$", description="of what was annotated: the upload's bytes, or the title's text")
    labels_json = dy.String(
        description="canonical JSON: `boxes` of photos and clips (x, y, width, height in pixels, upright), `segments` of "
        "recordings and clips (start_s, end_s), `spans` of titles (start, end, text), and whatever else"
    )
    annotator = dy.String(nullable=True, description="who or what marked it, as the database says")
    annotated_at = dy.Datetime(time_zone="UTC")
