"""The list of modules with assets. Importing this module declares all assets, without creating resources or definitions.

An asset in a module of this list is computed, judged, shown and documented like all others.
"""

import dagster as dg

from pipeline_assets.classify import assets as classify
from pipeline_assets.exploration.learning import assets as learning
from pipeline_assets.exploration.map import assets as exploration_map
from pipeline_assets.exploration.profiles import assets as profiles
from pipeline_assets.exploration.slices import assets as slices
from pipeline_assets.exploration.suspects import assets as suspects
from pipeline_assets.features import assets as features
from pipeline_assets.framework.declaration import DECLARATIONS, Declaration
from pipeline_assets.ingestion import assets as ingestion
from pipeline_assets.labeling import assets as labeling
from pipeline_assets.labeling.campaigns import assets as campaigns
from pipeline_assets.labeling.feedback import assets as feedback
from pipeline_assets.labeling.weak import assets as weak
from pipeline_assets.serving import assets as serving
from pipeline_assets.serving.log import assets as serving_log
from pipeline_assets.training import assets as training
from pipeline_assets.variants import assets as variants

__all__ = ["DECLARATIONS", "DECLARED", "MODULES"]

MODULES = (
    ingestion,
    classify,
    campaigns,
    labeling,
    weak,
    feedback,
    features,
    training,
    variants,
    exploration_map,
    profiles,
    slices,
    suspects,
    learning,
    serving,
    serving_log,
)
"""The modules with assets."""

DECLARED: dict[str, Declaration] = {
    asset.key.to_user_string(): DECLARATIONS[asset.key.to_user_string()]
    for module in MODULES
    for declared in vars(module).values()
    for asset in (declared if isinstance(declared, list) else [declared])
    if isinstance(asset, dg.AssetsDefinition)
}
"""The assets of these modules by name, in order of modules and of declarations in them, alone or in a list."""
