"""How far a stream has been applied, as the text that the online store keeps with its values."""

from dataclasses import dataclass
from typing import Self

from pipeline_assets.serving.stream.journal import Position


@dataclass(frozen=True)
class Place:
    """A place in the journal of a lineage. arrived_us: every event that arrived up to then is in the values."""

    lineage: str
    position: Position
    arrived_us: int

    def __str__(self) -> str:
        return f"{self.lineage}:{self.position.segment}:{self.position.offset}:{self.arrived_us}"

    @classmethod
    def of(cls, text: str) -> Self | None:
        """The place that a text names; None for another text, such as that of a generation without a stream."""
        lineage, *numbers = text.split(":")
        if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
            return None
        segment, offset, arrived_us = map(int, numbers)
        return cls(lineage, Position(segment, offset), arrived_us)
