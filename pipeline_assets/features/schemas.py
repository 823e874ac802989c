"""Contracts of the feature tables."""

import dataframely as dy


class UserFeatures(dy.Schema):
    """One user as of the end of the day (exclusive). All windows are bounded, so a day's work is too."""

    day = dy.Date(primary_key=True)
    user_id = dy.Int64(primary_key=True)
    as_of = dy.Datetime(time_zone="UTC", description="nothing that happened or arrived at or after this counts")
    days_since_joining = dy.Int32(min=0)
    logins_1d = dy.Int32(min=0)
    logins_7d = dy.Int32(min=0)
    logins_30d = dy.Int32(min=0)
    posts_30d = dy.Int32(min=0)
    likes_given_30d = dy.Int32(min=0)
    likes_received_30d = dy.Int32(min=0, description="likes by others on the user's photos of the last 37 days")
    mean_popularity_30d = dy.Float32(
        nullable=True, description="mean popularity of own photos that matured in the last 30 days"
    )
