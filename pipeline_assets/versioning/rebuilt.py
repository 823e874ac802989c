"""What building a pinned table again has found: the JSON that passes from the pinned code to the code that asked for it.

The two may be years apart, so a field may be added, and none renamed.
"""

from datetime import date

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Day(_Part):
    """One day, built again and as pinned. columns: in how many rows that both have each column differs."""

    day: date
    rows: int
    pinned_rows: int
    digest: str
    pinned_digest: str
    added: int = 0
    removed: int = 0
    columns: dict[str, int] = {}

    @property
    def is_same(self) -> bool:
        """Whether the rows are those that were pinned."""
        return self.digest == self.pinned_digest


class Rebuilt(_Part):
    """All days. code: the folder that the code was imported from. refused: why nothing was built; the rest is empty then.

    digest, pinned_digest: over all days that have rows, as a reference has it.
    """

    code: str
    refused: str = ""
    days: list[Day] = []
    digest: str = ""
    pinned_digest: str = ""
