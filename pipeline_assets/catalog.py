"""Every table asset, declared: to import this is enough to know them all. Nothing is assembled, and no resource is made."""

from pipeline_assets.classify import assets as classify
from pipeline_assets.features import assets as features
from pipeline_assets.ingestion import assets as ingestion
from pipeline_assets.labeling import assets as labeling
from pipeline_assets.table_asset import DECLARATIONS
from pipeline_assets.training import assets as training
from pipeline_assets.variants import assets as variants

__all__ = ["DECLARATIONS", "MODULES"]

MODULES = (ingestion, labeling, classify, features, training, variants)
"""Where the assets are."""
