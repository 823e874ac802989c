"""How much a claim counts: by how often its user was right, and how much the user claims. Pure.

Point in time: what counts for a claim had arrived when the claim did.
"""

from datetime import timedelta

import polars as pl

WINDOW = timedelta(days=30)
"""Claims of a user that count for the weight of the next one."""
PRIOR = (2.0, 2.0)
"""Confirmed and contradicted claims that every user is taken to have: a new one counts half."""
FREE_CLAIMS = 20
"""Claims in the window that count fully; with n more, each counts FREE_CLAIMS / n, so that all together grow with log n."""
JUDGES = 10
"""Users whose first correction of a photo judges those of others: the first users to correct it."""
_TIME = pl.Datetime("us", "UTC")
CONSENSUS = {"photo_id": pl.Int64(), "classes": pl.List(pl.String()), "choice": pl.String(), "known_at": _TIME}


def weighted(claims: pl.DataFrame, consensus: pl.DataFrame) -> pl.DataFrame:
    """Claims with judged, confirmed, recent and weight, in their order.

    claims: those of WINDOW before the last one, each once (`claims.once`). consensus: the columns of CONSENSUS, what the
    people of a campaign answered of a photo, whose question has these classes.
    """
    judgements = _judgements(_said(claims), consensus)
    totals = (
        judgements.sort("user_id", "known_at")
        .with_columns(pl.col("judged", "confirmed").cum_sum().over("user_id"))
        .unique(["user_id", "known_at"], keep="last", maintain_order=True)
        .sort("known_at")
    )
    recent = (
        claims.sort("arrived_at")
        .rolling("arrived_at", period=WINDOW, group_by="user_id")
        .agg(recent=pl.len().cast(pl.Int64))
        .unique(["user_id", "arrived_at"])
    )
    prior_right, prior_wrong = PRIOR
    rightness = (prior_right + pl.col("confirmed")) / (prior_right + prior_wrong + pl.col("judged"))
    rows = claims.with_row_index("_row").sort("arrived_at")
    return (
        rows.join_asof(totals, left_on="arrived_at", right_on="known_at", by="user_id", check_sortedness=False)
        .join(recent, on=["user_id", "arrived_at"], how="left")
        .with_columns(pl.col("judged", "confirmed").fill_null(0))
        .with_columns(weight=rightness * (FREE_CLAIMS / pl.col("recent")).clip(upper_bound=1.0))
        .sort("_row")
        .select(*claims.columns, "judged", "confirmed", "recent", "weight")
    )


def _said(claims: pl.DataFrame) -> pl.DataFrame:
    """Corrections as statements: says `is` with the label, or `not` with what it is not. Of equal ones, the first."""
    statements = claims.filter(kind="correct").select(
        "event_id",
        "user_id",
        "photo_id",
        "arrived_at",
        says=pl.when(pl.col("label").is_not_null()).then(pl.lit("is")).otherwise(pl.lit("not")),
        subject=pl.coalesce("label", "not_label"),
    )
    ordered = statements.sort("arrived_at", "event_id")
    return ordered.unique(["user_id", "photo_id", "says", "subject"], keep="first", maintain_order=True)


def _judgements(said: pl.DataFrame, consensus: pl.DataFrame) -> pl.DataFrame:
    """user_id, known_at, judged, confirmed: what to add to a user's totals from that time on.

    Each other user who says the same confirms, and each who says what can't be true as well contradicts; a consensus does
    either, and replaces what users said before.
    """
    by_consensus = _by_consensus(said, consensus)
    by_users = _by_users(said).join(by_consensus.drop("user_id"), on="event_id", how="left")
    before = by_users.filter(pl.col("consensus_at").is_null() | (pl.col("users_at") < pl.col("consensus_at")))
    undone = before.group_by("event_id").agg(users=pl.len().cast(pl.Int64), same=pl.col("is_same").cast(pl.Int64).sum())
    decided = by_consensus.join(undone, on="event_id", how="left").with_columns(pl.col("users", "same").fill_null(0))
    one = pl.lit(1, pl.Int64)
    return pl.concat(
        [
            before.select("user_id", known_at="users_at", judged=one, confirmed=pl.col("is_same").cast(pl.Int64)),
            decided.select(
                "user_id",
                known_at="consensus_at",
                judged=one - pl.col("users"),
                confirmed=pl.col("is_right").cast(pl.Int64) - pl.col("same"),
            ),
        ]
    )


def _by_users(said: pl.DataFrame) -> pl.DataFrame:
    """event_id, user_id, users_at, is_same: for each other user of the photo who says the same or contradicts.

    Only the first correction of each of the first JUDGES users of a photo judges others: so nobody judges twice, or keeps
    all others from judging, and the work is bounded.
    """
    first = said.sort("arrived_at", "event_id").unique(["photo_id", "user_id"], keep="first", maintain_order=True)
    judges = first.group_by("photo_id", maintain_order=True).head(JUDGES)
    names = {"other": "user_id", "other_says": "says", "other_subject": "subject", "other_at": "arrived_at"}
    is_alike, is_about_it = pl.col("says") == pl.col("other_says"), pl.col("subject") == pl.col("other_subject")
    contradicts = pl.when(is_alike).then((pl.col("says") == "is") & ~is_about_it).otherwise(is_about_it)
    return (
        said.join(judges.select("photo_id", **names), on="photo_id")
        .with_columns(is_same=is_alike & is_about_it, contradicts=contradicts)
        .filter(pl.col("user_id") != pl.col("other"), pl.col("is_same") | pl.col("contradicts"))
        .select("event_id", "user_id", "is_same", users_at=pl.max_horizontal("arrived_at", "other_at"))
    )


def _by_consensus(said: pl.DataFrame, consensus: pl.DataFrame) -> pl.DataFrame:
    """event_id, user_id, consensus_at, is_right; of several questions, the first that is known counts."""
    asked = consensus.select(pl.col(name).cast(kind) for name, kind in CONSENSUS.items())
    return (
        said.join(asked, on="photo_id")
        .filter(pl.col("subject").is_in(pl.col("classes")), pl.col("choice").is_not_null())
        .select(
            "event_id",
            "user_id",
            consensus_at=pl.max_horizontal("arrived_at", "known_at"),
            is_right=(pl.col("says") == "is") == (pl.col("subject") == pl.col("choice")),
        )
        .sort("event_id", "consensus_at", "is_right")
        .unique("event_id", keep="first", maintain_order=True)
    )
