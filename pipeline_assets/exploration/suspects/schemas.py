"""Contract of the suspects among labels."""

import dataframely as dy

from pipeline_assets.labeling.schemas import TARGETS

KINDS = ("label_error", "duplicates_disagree", "out_of_distribution")


class LabelSuspects(dy.Schema):
    """A label that a person should look at again. Nothing changes it by itself."""

    day = dy.Date(primary_key=True, description="the night; labels are those of the days that end with it")
    task_key = dy.String(primary_key=True, regex="^[0-9a-f]{64}$", description="as in label_consensus")
    kind = dy.String(check=lambda c: c.is_in(list(KINDS)), description="the first that holds, in the order of `why`")
    campaign = dy.String()
    version = dy.Int64(min=1, description="of the question")
    photo_day = dy.Date(description="upload day of the item, the day of the labeling tables")
    key = dy.String(description="object key of the upload")
    target = dy.String(check=lambda c: c.is_in(list(TARGETS)))
    sha256 = dy.String(regex="^[0-9a-f]{64}$", description="of the content")
    given = dy.String(description="the label that people agreed on")
    suggested = dy.String(nullable=True, description="what it probably is; null where nothing is like it")
    score = dy.Float64(min=0, max=1, description="what to ask first; comparable within a kind")
    probability_given = dy.Float64(
        nullable=True, min=0, max=1, description="of the given label, without the item's own vote"
    )
    probability_suggested = dy.Float64(nullable=True, min=0, max=1)
    why = dy.String(description="a sentence for each kind that holds")
    model_id = dy.String(nullable=True, description="of the embeddings")
