"""Contracts of the tables of what was served."""

import dataframely as dy

from pipeline_assets.exploration.profiles.schemas import Drift

ROUTES = ("features", "predict")
OUTCOMES = ("equal", "behind", "different")


class ServingLog(dy.Schema):
    """One answered ask, by the UTC day on which it was asked. No text of a user, no photo."""

    day = dy.Date(primary_key=True)
    ask_id = dy.String(primary_key=True, regex="^[0-9a-f]{16}$")
    request_id = dy.String(description="the client's X-Request-Id, or the server's")
    route = dy.String(check=lambda c: c.is_in(list(ROUTES)))
    asked_at = dy.Datetime(time_zone="UTC")
    user_id = dy.Int64(nullable=True, description="null with DARKROOM_SERVING_LOG_USERS=none")
    as_of = dy.Datetime(time_zone="UTC", description="moment of the features, the posting")
    t0 = dy.Datetime(time_zone="UTC", description="of the online state")
    known_through = dy.Datetime(time_zone="UTC", description="events that had arrived by then were in the online state")
    generation = dy.Int64(description="of the online state")
    days_since_joining = dy.Int32(min=0)
    logins_1d = dy.Int32(min=0)
    logins_7d = dy.Int32(min=0)
    logins_30d = dy.Int32(min=0)
    posts_30d = dy.Int32(min=0)
    likes_given_30d = dy.Int32(min=0)
    likes_received_30d = dy.Int32(min=0)
    mean_popularity_30d = dy.Float32(nullable=True)
    sha256 = dy.String(nullable=True, regex="^[0-9a-f]{64}$", description="of the photo; null for features alone")
    title_length = dy.Int32(nullable=True, min=0)
    has_location = dy.Bool(nullable=True)
    followers_at_post = dy.Int64(nullable=True, min=0)
    brightness = dy.Float32(nullable=True, description="of the photo, as are the next five")
    contrast = dy.Float32(nullable=True)
    saturation = dy.Float32(nullable=True)
    colourfulness = dy.Float32(nullable=True)
    sharpness = dy.Float32(nullable=True)
    aspect = dy.Float32(nullable=True)
    popularity = dy.Float32(nullable=True, description="the answer; null for features alone")
    low = dy.Float64(nullable=True, description="of the interval that was answered")
    high = dy.Float64(nullable=True)
    model_sha256 = dy.String(nullable=True, regex="^[0-9a-f]{64}$")
    pin_identity = dy.String(nullable=True, regex="^[0-9a-f]{64}$")
    night = dy.Date(nullable=True, description="of the model")
    shadow_sha256 = dy.String(nullable=True, regex="^[0-9a-f]{64}$", description="of the model that was scored beside it")
    shadow_popularity = dy.Float32(nullable=True)
    outcome = dy.String(
        nullable=True,
        check=lambda c: c.is_in(list(OUTCOMES)),
        description="of its replay with the offline features; null if the user is not known, or not replayed",
    )


class ServedQuality(dy.Schema):
    """How good one model's answers of a day were: predictions meet the labels of their photos, a week later."""

    day = dy.Date(primary_key=True, description="of the asks")
    model_sha256 = dy.String(primary_key=True, regex="^[0-9a-f]{64}$")
    is_shadow = dy.Bool(primary_key=True, description="whether the model was scored beside the one that answered")
    asks = dy.Int64(min=0, description="distinct postings that were asked for")
    labelled = dy.Int64(min=0, description="of these, with a mature label")
    r2 = dy.Float64(nullable=True, description="null for under 2 labels")
    bias = dy.Float64(nullable=True, description="mean of prediction minus label")
    mean_absolute_error = dy.Float64(nullable=True)
    slope = dy.Float64(nullable=True, description="of the label's line over the prediction: 1 if calibrated")
    coverage = dy.Float64(nullable=True, min=0, max=1, description="share of labels within the interval; null for a shadow")


class ServedDrift(Drift):
    """How far one feature of a day's predictions is from the rows that their model was trained on, by the model's pin."""

    pin_identity = dy.String(primary_key=True, regex="^[0-9a-f]{64}$", description="of the model that answered")
