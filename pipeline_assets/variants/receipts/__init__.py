"""Receipts: text with sums that agree, printed, wrinkled, lit and seen by a camera, with true labels."""

from pipeline_assets.variants.receipts.kind import Receipts
from pipeline_assets.variants.receipts.schemas import ReceiptColumns
from pipeline_assets.variants.receipts.templates import TEMPLATES

__all__ = ["COLUMNS", "KIND", "TEMPLATES"]

KIND = Receipts()
COLUMNS = ReceiptColumns
