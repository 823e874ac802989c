"""Settings of variants: recipes, numbers and shares. The recipes themselves are in `pipeline_assets/variants`.

No `from __future__ import annotations` here: Dagster reads resource annotations at run time.
"""

import dagster as dg
from pydantic import Field


class KindPolicy(dg.Config):
    """The variants of each item of one kind of data."""

    recipes: list[str] = Field(default=[], description="names of ready-made recipes; none named: all of the kind's")
    children: int = Field(default=2, ge=0, le=1000, description="variants of each item; 0 makes none")
    splits: list[str] = Field(default=["train"], description="items of these splits alone have variants")
    share: float = Field(default=0.0, ge=0, le=10, description="variants in a training set for each real row of it")


class VariantPolicy(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The number of variants of each kind of data, their recipes, and the share of them in training sets.

    Set it here for one run, or for all runs by DARKROOM_VARIANTS as JSON: {"photos": {"children": 4, "recipes": ["sepia"]}}.
    """

    seed: int = Field(default=0, description="of all randomness: another one makes other variants by the same recipes")
    photos: KindPolicy = KindPolicy()
    speech: KindPolicy = KindPolicy()
    video: KindPolicy = KindPolicy(children=1)
    text: KindPolicy = KindPolicy()
    tables: KindPolicy = KindPolicy(children=3)
    receipts: KindPolicy = KindPolicy(children=1)

    def of(self, kind: str) -> KindPolicy:
        """The policy of one kind. Raises AttributeError for an unknown one."""
        policy: KindPolicy = getattr(self, kind)
        return policy
