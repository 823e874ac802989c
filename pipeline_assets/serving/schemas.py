"""Contracts of the serving tables."""

import dataframely as dy


class OnlineFeatures(dy.Schema):
    """One user's state as of the end of the day, as the online store has it: it answers any moment of the next 36 hours."""

    day = dy.Date(primary_key=True)
    user_id = dy.Int64(primary_key=True)
    as_of = dy.Datetime(time_zone="UTC", description="the end of the day: what came later is applied to the store alone")
    joined_at = dy.Datetime(nullable=True, time_zone="UTC", description="null for a user of events or photos alone")
    state_base64 = dy.String(description="the packed state, by serving/state/layout.py")
    state_bytes = dy.Int32(min=1)
