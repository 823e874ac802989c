"""The columns specific to photo variants."""

import dataframely as dy


class PhotoColumns(dy.Schema):
    """A photo variant's shape and what it looks like, beside what every variant has."""

    width_px = dy.Int32(min=1)
    height_px = dy.Int32(min=1)
    phash = dy.String(regex="^[0-9a-f]{16}$", description="64-bit perceptual hash, as `raw_uploads` has it")
