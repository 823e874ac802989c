"""Contract of the labels that users give by what they do."""

import dataframely as dy

from pipeline_assets.ingestion.schemas import FEEDBACK_KINDS
from pipeline_assets.labeling.schemas import TARGETS


class FeedbackLabels(dy.Schema):
    """What one user says of one photo, by day of the log in which it arrived. A row never changes its day."""

    day = dy.Date(primary_key=True, description="day of the log file, the day it arrived")
    event_id = dy.String(primary_key=True)
    photo_day = dy.Date(description="upload day of the photo, the day of the other labeling tables")
    key = dy.String(description="object key of the photo's upload")
    target = dy.String(check=lambda c: c.is_in(list(TARGETS)), description="what is labelled: the `upload`")
    user = dy.String(regex="^user-[0-9a-f]{16}$", description="pseudonym; who it is stands in the database alone")
    kind = dy.String(check=lambda c: c.is_in(list(FEEDBACK_KINDS)))
    label = dy.String(nullable=True, description="of a `correct`: what the photo shows")
    not_label = dy.String(nullable=True, description="of a `correct`: what the photo does not show")
    weight = dy.Float64(
        min=0, max=1, description="(2 + confirmed) / (4 + judged), less above 20 pieces of feedback in 30 days"
    )
    confirmed = dy.Int64(min=0, description="of the user's judged corrections, those that others confirm")
    judged = dy.Int64(
        min=0, description="corrections of the user in 30 days that a consensus or another user had judged by arrived_at"
    )
    recent = dy.Int64(min=1, description="pieces of feedback of the user in the 30 days up to this one, itself included")
    is_owner = dy.Bool(description="whether the user speaks of their own photo")
    happened_at = dy.Datetime(time_zone="UTC")
    arrived_at = dy.Datetime(time_zone="UTC", description="when the lake had it: use no label before")
