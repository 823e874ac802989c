"""The columns specific to receipts."""

import dataframely as dy


class ReceiptColumns(dy.Schema):
    """What a receipt's picture shows and how it was made, beside what every variant has."""

    width_px = dy.Int32(min=1)
    height_px = dy.Int32(min=1)
    visible_lines = dy.Int32(min=0, description="lines of text with a quadrilateral in the labels; a clip's last picture")
    fields_json = dy.String(description="company, date, address and total as printed")
    scene_json = dy.String(description="camera, lamp, paper and table, every number drawn")
