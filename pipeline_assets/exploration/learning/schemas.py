"""Contract of pseudo-labels."""

import dataframely as dy


class PseudoLabels(dy.Schema):
    """What the labels of a campaign say of one photo without a label, by night. No table reads it by itself."""

    day = dy.Date(primary_key=True, description="of the night")
    campaign = dy.String(primary_key=True)
    version = dy.Int64(primary_key=True, min=1, description="of the question")
    sha256 = dy.String(primary_key=True, regex="^[0-9a-f]{64}$", description="of the photo's bytes")
    target = dy.String(check=lambda c: c == "upload", description="what is labelled: the `upload`")
    photo_day = dy.Date(description="the newest upload day of the photo in the window")
    label = dy.String(description="the most probable class")
    probability = dy.Float64(min=0, max=1, description="of this class among the photos near it; it is not calibrated")
    threshold = dy.Float64(min=0, max=1, description="of probabilities of rows; 0: any that a label reaches has a row")
    teacher = dy.String(
        regex="^[0-9a-f]{64}$",
        description="digest of the labels that are spread, of the embedding and the code",
    )
    labels = dy.Int64(min=1, description="labelled photos")
    gain = dy.Float64(
        nullable=True,
        min=-1,
        max=1,
        description="accuracy of a linear probe with pseudo-labels less without, on labelled photos held out in turn",
    )
    gain_low = dy.Float64(nullable=True, description="lower end of its 95 % interval")
    gain_high = dy.Float64(nullable=True, description="its upper end")
    is_taken = dy.Bool(description="whether gain_low is above 0, and DARKROOM_PSEUDO_LABELS allows it")
