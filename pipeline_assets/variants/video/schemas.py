"""The columns specific to video variants."""

import dataframely as dy


class VideoColumns(dy.Schema):
    """Properties of a video."""

    duration_s = dy.Float64(min=0)
    width_px = dy.Int32(min=1)
    height_px = dy.Int32(min=1)
    frames = dy.Int64(min=1)
    frame_rate = dy.Float64(min=0, description="frames a second; they come evenly")
    has_audio = dy.Bool()
