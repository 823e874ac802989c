"""Contracts of the training tables."""

import dataframely as dy

SPLITS = ("train", "validation", "test")
VOLATILE = {"volatile": True}
"""Metadata of columns that differ between identical runs, and so are not digested."""

LABEL = {"label": True}
"""Metadata of labels, the columns that a model learns to predict."""


class TrainingTable(dy.Schema):
    """One photo with what was known when it was posted and, once mature, its label."""

    day = dy.Date(primary_key=True)
    photo_id = dy.Int64(primary_key=True)
    user_id = dy.Int64()
    sha256 = dy.String(regex="^[0-9a-f]{64}$")
    posted_at = dy.Datetime(time_zone="UTC")
    posted_hour = dy.Int8(min=0, max=23, description="UTC")
    posted_weekday = dy.Int8(min=1, max=7, description="ISO: 1 is Monday")
    title_length = dy.Int32(min=0, description="characters")
    has_location = dy.Bool()
    followers_at_post = dy.Int64(nullable=True, min=0)
    days_since_joining = dy.Int32(min=0)
    logins_1d = dy.Int32(min=0)
    logins_7d = dy.Int32(min=0)
    logins_30d = dy.Int32(min=0)
    posts_30d = dy.Int32(min=0)
    likes_given_30d = dy.Int32(min=0)
    likes_received_30d = dy.Int32(min=0)
    mean_popularity_30d = dy.Float32(nullable=True)
    model_id = dy.String()
    top_class = dy.String(description="most probable class")
    top_probability = dy.Float32(min=0, max=1)
    embedding = dy.List(dy.Float32(), metadata={"bulk": True})
    brightness = dy.Float32()
    contrast = dy.Float32()
    saturation = dy.Float32()
    colourfulness = dy.Float32()
    sharpness = dy.Float32()
    aspect = dy.Float32()
    split = dy.String(check=lambda c: c.is_in(list(SPLITS)), description="by hash of user: stable under new data")
    views_7d = dy.Int64(
        nullable=True,
        min=0,
        metadata=LABEL,
        description="null until the log has the seven days after posting, without a gap",
    )
    popularity = dy.Float32(nullable=True, min=0, metadata=LABEL, description="log2(views_7d / 7 + 1); null until mature")


class TrainingPin(dy.Schema):
    """One night's training set, as a pin."""

    day = dy.Date(primary_key=True, description="the night; the rows are those of the window of days that ends with it")
    identity = dy.String(regex="^[0-9a-f]{64}$", description="of data and code: equal identities, equal training sets")
    table_version = dy.Int64(description="Delta version of training_table")
    first_day = dy.Date()
    last_day = dy.Date()
    rows = dy.Int64(min=1)
    files = dy.Int64(min=0, description="photos, each content once")
    bytes = dy.Int64(min=0, description="of all photos")
    manifest_sha256 = dy.String(regex="^[0-9a-f]{64}$", description="the object that lists the photos")
    reference_json = dy.String(metadata=VOLATILE, description="the reference itself: what datasets/NAME.json would hold")


class StagedTrainingSet(dy.Schema):
    """One Arrow IPC shard on the fast local disk."""

    day = dy.Date(
        primary_key=True, description="the night that it was staged for; its rows come from the window of days before"
    )
    shard = dy.String(primary_key=True, description="file name: {split}-{number}.arrow")
    split = dy.String(check=lambda c: c.is_in(list(SPLITS)))
    rows = dy.Int64(min=1)
    size_bytes = dy.Int64(min=1)
    sha256 = dy.String(regex="^[0-9a-f]{64}$")
    table_version = dy.Int64(description="Delta version of training_table that the rows were read at")
    first_day = dy.Date()
    last_day = dy.Date()


class PopularityModel(dy.Schema):
    """One night's model, its scores on the test split, and the versions of its training data."""

    day = dy.Date(primary_key=True)
    weights_sha256 = dy.String(regex="^[0-9a-f]{64}$", description="of the weights, laid out as safetensors")
    weights_bytes = dy.Int64(min=1)
    pin_identity = dy.String(regex="^[0-9a-f]{64}$", description="of the training set, as `training_pin` names it")
    seed = dy.Int64()
    epochs = dy.Int32(min=1, description="until early stopping")
    rows_train = dy.Int64(min=1)
    rows_validation = dy.Int64(min=1)
    rows_test = dy.Int64(min=1)
    rows_set_aside = dy.Int64(
        min=0, description="photos of the window that are no rows, since their family is in two splits"
    )
    rows_variants = dy.Int64(min=0, description="of rows_train: variants of photos, by the policy's share")
    r2 = dy.Float64()
    spearman = dy.Float64(nullable=True)
    r2_mean = dy.Float64(description="baseline: the mean of the training labels")
    r2_metadata = dy.Float64(description="baseline: ridge on posting metadata alone")
    spearman_metadata = dy.Float64(nullable=True)
    r2_ridge = dy.Float64(description="baseline: ridge on every feature that the model sees")
    spearman_ridge = dy.Float64(nullable=True)
    r2_oracle = dy.Float64(nullable=True, description="the simulator's own expectation; null for real data")
    spearman_oracle = dy.Float64(nullable=True)
    half_width_90 = dy.Float64(
        nullable=True, min=0, description="of the 90% prediction interval, from residuals on test; null for too few rows"
    )
    coverage_90 = dy.Float64(nullable=True, description="of such intervals, each measured on a fifth of test by the others")
    r2_without_variants = dy.Float64(nullable=True, description="of the same training without its variants; null if none")
    spearman_without_variants = dy.Float64(nullable=True)
    table_versions_json = dy.String(metadata=VOLATILE, description="Delta version of every table read")
    training_s = dy.Float64(min=0, metadata=VOLATILE)
