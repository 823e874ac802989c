"""Variants of tables: cells deleted with a mask of the deletions, numbers jittered, categories swapped, synthetic rows."""

from pipeline_assets.variants.tables.kind import Tables
from pipeline_assets.variants.tables.schemas import TableColumns

__all__ = ["COLUMNS", "KIND"]

KIND = Tables()
COLUMNS = TableColumns
