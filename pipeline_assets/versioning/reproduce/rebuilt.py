"""The result of a rebuild: JSON that passes from the pinned code to the code that runs `darkroom reproduce`.

The two may be years apart: fields may be added, and never renamed.
"""

from datetime import date

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Day(_Part):
    """One day, rebuilt and as pinned. columns: by column, in how many of the common rows it differs."""

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
        """Whether the rows are equal to the pinned ones."""
        return self.digest == self.pinned_digest


class Rebuilt(_Part):
    """All days. code: the folder of the imported code. refused: why nothing was rebuilt; other fields are empty then.

    digest, pinned_digest: over all days with rows, as in a reference.
    """

    code: str
    refused: str = ""
    days: list[Day] = []
    digest: str = ""
    pinned_digest: str = ""
