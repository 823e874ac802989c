"""Contracts of the classifier outputs, keyed by content: equal bytes have equal rows."""

import dataframely as dy


class PhotoClasses(dy.Schema):
    """One photo's content by a classifier; top five classes, most probable first."""

    day = dy.Date(primary_key=True)
    sha256 = dy.String(primary_key=True, regex="^[0-9a-f]{64}$")
    model_id = dy.String(description="name and digest of weights, preprocessing and code")
    top5_index = dy.List(dy.Int32())
    top5_label = dy.List(dy.String())
    top5_probability = dy.List(dy.Float32(), description="of a softmax over all classes, in [0, 1]")
    embedding = dy.List(
        dy.Float32(), metadata={"bulk": True}, description="pooled features before the classifier's last layer"
    )


class MeasuredStyles(dy.Schema):
    """One photo's measured style, on 8-bit sRGB scaled to a short side of 256 pixels."""

    day = dy.Date(primary_key=True)
    sha256 = dy.String(primary_key=True, regex="^[0-9a-f]{64}$")
    styles_id = dy.String(description="version of the definitions in `classify/styles.py`")
    brightness = dy.Float32(min=0, max=1, description="mean Rec. 709 luma")
    contrast = dy.Float32(min=0, description="standard deviation of luma (RMS contrast)")
    saturation = dy.Float32(min=0, max=1, description="mean HSV saturation")
    colourfulness = dy.Float32(min=0, description="Hasler and Suesstrunk 2003, M3")
    sharpness = dy.Float32(min=0, description="variance of the Laplacian of luma in [0, 255]")
    aspect = dy.Float32(min=0, description="width over height, after orientation")


class PhotoStyles(MeasuredStyles):
    """One photo's measured style, and its look as predicted by a model."""

    look = dy.String(nullable=True, description="natural, or a film look; null where the classifier is not the built-in one")
    look_probability = dy.Float32(nullable=True, min=0, max=1, description="of a softmax over all looks")
    look_model_id = dy.String(nullable=True, description="digest of the head's weights, looks and classifier")
