"""What consensus must know of a campaign: the kind of answer, its classes, and when an answer is sure enough. Pure."""

from dataclasses import dataclass
from typing import Self

from pipeline_assets.labeling.campaigns.answer import MARK_KINDS, Kind
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.consensus.agreement import Scale


@dataclass(frozen=True)
class Question:
    """Facts of one version of a campaign.

    classes: in their order, where the scale has one; empty: any label is an answer. confidence: an item below it needs
    adjudication; 0: none does for this. price: paid for an answer.
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    scale: Scale = "nominal"
    confidence: float = 0.9
    price: float = 0.0

    @classmethod
    def of(cls, campaign: Campaign) -> Self:
        """The facts of a campaign."""
        return cls(campaign.kind, tuple(campaign.classes), campaign.scale, campaign.confidence, campaign.price)

    @property
    def has_marks(self) -> bool:
        """Whether answers are marks, which overlap more or less; those of other kinds are equal or not."""
        return self.kind in MARK_KINDS
