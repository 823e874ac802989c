"""What to ask next: a mix of strategies, always with a random share, so that their gain can be told. Pure.

Each chosen item has the reason for which it was chosen and a priority. The same items, mix and seed give the same queue.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.labeling.campaigns.spread import MAX_DIVERSE, spread_out

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Embeddings = npt.NDArray[np.float32]
Embed = Callable[[list[str]], Embeddings]
"""Task keys -> (keys, dimensions), NaN in a row without an embedding. Asked for a bounded number of keys."""

MIN_RANDOM_SHARE = 0.05
"""The share of the queue that no strategy chooses is at least this: without it, no gain can be told."""

ITEMS: Mapping[str, pl.DataType] = {
    "task_key": pl.String(),
    "confidence": pl.Float64(),
    "entropy": pl.Float64(),
    "votes": pl.Int64(),
    "consensus": pl.Float64(),
    "slice": pl.String(),
    "is_done": pl.Boolean(),
}
"""Columns of items, a task of the campaign a row.

confidence: the model's probability of its best class; entropy: of all its classes, in [0, 1], null where only the best is
known; votes: answers so far; consensus: confidence of the answer of people, null without one; is_done: by the stopping rule,
so that it is not asked again.
"""
CHOSEN = {"rank": pl.Int64(), "task_key": pl.String(), "priority": pl.Float64(), "reason": pl.String()}


@dataclass(frozen=True)
class Mix:
    """Shares of the queue by strategy; what is left of 1 is random. Raises ValueError for shares that leave too little."""

    shares: Mapping[str, float] = field(
        default_factory=lambda: {"uncertain": 0.4, "disagreement": 0.2, "diverse": 0.15, "slice": 0.15}
    )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.shares) - set(STRATEGIES)):
            raise ValueError(f"{unknown[0]!r:.60} is no strategy: these are {', '.join(STRATEGIES)}")
        if not all(math.isfinite(share) and share >= 0 for share in self.shares.values()):
            raise ValueError("a share is a number from 0 to 1")
        if self.random < MIN_RANDOM_SHARE - 1e-9:
            raise ValueError(f"the shares leave {self.random:.0%} for random items: leave at least {MIN_RANDOM_SHARE:.0%}")

    @property
    def random(self) -> float:
        """The share that no strategy chooses."""
        return 1 - sum(self.shares.values())

    def with_random(self, share: float) -> "Mix":
        """The same proportions, with this share of random items, at least MIN_RANDOM_SHARE."""
        left = 1 - min(max(share, MIN_RANDOM_SHARE), 1.0)
        total = sum(self.shares.values())
        return Mix({name: part * left / total for name, part in self.shares.items()} if total else {})


def next_items(items: pl.DataFrame, count: int, mix: Mix, seed: int, embed: Embed | None = None) -> pl.DataFrame:
    """The items to ask next, at most `count`, best first: rank, task_key, priority (1 for the first, above 0), reason.

    items: the columns of ITEMS, all of the campaign. embed: without it, nothing is chosen as diverse. Random items are drawn
    first, of all open ones: so they tell what asking without any strategy brings. A strategy that has too few items leaves
    its places to the next, and the last to the REST. Every prefix of the queue has the mix, as nearly as whole items can.
    """
    ordered = items.select(pl.col(name).cast(kind) for name, kind in ITEMS.items()).sort("task_key")
    free = ~ordered["is_done"].fill_null(False).to_numpy()
    count = min(max(count, 0), int(free.sum()))
    draw = np.random.default_rng(seed).permutation(items.height)
    shuffled = draw[free[draw]]
    picked: dict[str, list[int]] = {}
    places = quotas(mix, count)
    picked["random"] = shuffled[: places["random"]].tolist()
    free[picked["random"]] = False
    short = 0
    for name in [name for name in STRATEGIES if name in mix.shares]:
        wanted = places[name] + short
        if name == DIVERSE:
            chosen = _diverse(ordered, embed, free, draw, wanted)
        else:
            chosen = _best(SCORES[name](ordered, draw), free, draw, wanted)
        free[chosen] = False
        picked[name] = chosen
        short = wanted - len(chosen)
    picked[REST] = [row for row in shuffled.tolist() if free[row]][:short]
    return _interleaved(ordered["task_key"], picked, count)


def quotas(mix: Mix, count: int) -> dict[str, int]:
    """Places of each strategy and of random items, by largest remainder; at least one random if there are any."""
    shares = {"random": mix.random, **{name: mix.shares[name] for name in STRATEGIES if name in mix.shares}}
    exact = {name: max(share, 0.0) * count for name, share in shares.items()}
    places = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: places[name] - exact[name])
    for name in by_remainder[: count - sum(places.values())]:
        places[name] += 1
    if count and not places["random"]:
        places[max(places, key=lambda name: places[name])] -= 1
        places["random"] = 1
    return places


def uncertain(items: pl.DataFrame, draw: Rows) -> Floats:
    """How little the model knows: entropy of its classes, else what is missing from certainty; NaN without a prediction."""
    return items.select(pl.coalesce("entropy", 1 - pl.col("confidence"))).to_series().to_numpy().astype(np.float64)


def disagreement(items: pl.DataFrame, draw: Rows) -> Floats:
    """How little people agree: what is missing from certainty of their answers; NaN below two answers."""
    return (
        items.select(pl.when(pl.col("votes") >= 2).then(1 - pl.col("consensus"))).to_series().to_numpy().astype(np.float64)
    )


def under_served(items: pl.DataFrame, draw: Rows) -> Floats:
    """How few answers an item's slice has for each of its items, once the items before it are asked; NaN without a slice.

    Within a slice, items with fewer answers come first, done ones last, ties in the order of the draw.
    """
    place = np.empty(items.height, np.int64)
    place[draw] = np.arange(items.height)
    ranked = items.select("slice", pl.col("votes").fill_null(0), done=pl.col("is_done").fill_null(False), place=place)
    order = pl.struct("done", "votes", "place").rank("ordinal").over("slice")
    served = (pl.col("votes").sum().over("slice") + order) / pl.len().over("slice")
    return ranked.select(pl.when(pl.col("slice").is_not_null()).then(-served)).to_series().to_numpy().astype(np.float64)


SCORES: Mapping[str, Callable[[pl.DataFrame, Rows], Floats]] = {
    "uncertain": uncertain,
    "disagreement": disagreement,
    "slice": under_served,
}
"""(items, their random order) -> scores: the higher, the sooner; NaN: not a case for this strategy."""
DIVERSE = "diverse"
REST = "rest"
"""Drawn of what the strategies left, and so no random sample of all."""
STRATEGIES = (*SCORES, DIVERSE)
"""Strategies by the reason that their items have, in the order in which they choose."""


def _best(scores: Floats, free: npt.NDArray[np.bool_], draw: Rows, count: int) -> list[int]:
    """The free items of the highest scores; ties in the order of the draw."""
    candidates = draw[free[draw] & ~np.isnan(scores[draw])]
    chosen = candidates[np.argsort(-scores[candidates], kind="stable")][:count]
    return [int(row) for row in chosen]


def _diverse(items: pl.DataFrame, embed: Embed | None, free: npt.NDArray[np.bool_], draw: Rows, count: int) -> list[int]:
    """Free items far from those with answers and from each other; sought in a random sample of both."""
    if embed is None or not count:
        return []
    is_answered = items["votes"].fill_null(0).to_numpy() > 0
    candidates, answered = draw[free[draw]][:MAX_DIVERSE], draw[is_answered[draw]][:MAX_DIVERSE]
    vectors, centers = embed(items["task_key"][candidates].to_list()), embed(items["task_key"][answered].to_list())
    known = np.isfinite(vectors).all(axis=1)
    chosen = spread_out(vectors[known], centers[np.isfinite(centers).all(axis=1)], count)
    return [int(row) for row in candidates[known][chosen]]


def _interleaved(keys: pl.Series, picked: Mapping[str, list[int]], count: int) -> pl.DataFrame:
    """The chosen rows such that each reason is spread evenly over the queue."""
    places = sorted(
        ((number + 0.5) / len(rows), list(picked).index(reason), row, reason)
        for reason, rows in picked.items()
        for number, row in enumerate(rows)
    )
    rows = [row for _, _, row, _ in places]
    return pl.DataFrame(
        {
            "rank": range(1, len(rows) + 1),
            "task_key": [keys[row] for row in rows],
            "priority": [1 - number / max(count, 1) for number in range(len(rows))],
            "reason": [reason for _, _, _, reason in places],
        },
        schema=CHOSEN,
    )
