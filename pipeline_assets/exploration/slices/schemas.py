"""Contract of the slices."""

import dataframely as dy


class Slices(dy.Schema):
    """A slice that the search of one night found, and whether fresh users confirm that the model is worse there.

    Errors are of photos of the users on whom nothing was searched, and that are in no slice found before.
    """

    day = dy.Date(primary_key=True, description="the night of the model; photos are those of the days that end with it")
    slice = dy.String(
        primary_key=True, description="an SQL condition on `training_table`, as `darkroom checkout --where` takes it"
    )
    is_of_training_table = dy.Bool(
        description="false where the slice names `look` (of `photo_styles`) or `cluster` (of the night's `embedding_map`)"
    )
    is_weak = dy.Bool(description="the corrected p is at most 0.01: the model is worse here, and it is hardly luck")
    found_as = dy.Int32(min=1, description="the order in which the search found it: what it explains, later ones need not")
    predicates = dy.Int32(min=1, max=3, description="conditions in it that are joined by `and`")
    rows = dy.Int64(min=1, description="its mature photos of validation and test users, on which no weight was trained")
    share = dy.Float64(min=0, max=1, description="of all such photos")
    users = dy.Int64(min=1)
    tested_rows = dy.Int64(min=0, description="photos that confirm or refute it")
    tested_users = dy.Int64(min=0)
    error_inside = dy.Float64(
        nullable=True, min=0, description="mean absolute error of the predicted popularity, in doublings of views"
    )
    error_outside = dy.Float64(nullable=True, min=0, description="the same, elsewhere")
    bias_inside = dy.Float64(nullable=True, description="mean of prediction minus truth: above 0, too much is expected")
    effect = dy.Float64(nullable=True, description="error_inside minus error_outside")
    effect_low = dy.Float64(nullable=True, description="95 % bound; photos of one user count as dependent")
    effect_high = dy.Float64(nullable=True)
    p = dy.Float64(
        min=0, max=1, description="that elsewhere the model is as bad; one-sided; 1 where too few photos are left to test"
    )
    p_corrected = dy.Float64(min=0, max=1, description="by Holm, over all slices found that night")
    weights_sha256 = dy.String(regex="^[0-9a-f]{64}$", description="of the model, as in `popularity_model`")
