"""Variants of texts: synonyms, reordered words, deleted words, typing errors; names and numbers stay."""

from pipeline_assets.variants.text.kind import Texts
from pipeline_assets.variants.text.schemas import TextColumns

__all__ = ["COLUMNS", "KIND"]

KIND = Texts()
COLUMNS = TextColumns
