"""The one assembly of everything that Dagster serves: assets, resources, jobs, schedules, sensors."""

import gc

import dagster as dg

from pipeline_assets.catalog import MODULES
from pipeline_assets.current_check import current_days
from resources.assembly import build_resources
from resources.settings import Settings, load_settings
from sensors import failures, reconcile, schedules, uploads


def build_defs(settings: Settings) -> dg.Definitions:
    """The code location for these settings; tests call it with their own."""
    assets = dg.load_assets_from_modules(MODULES)
    return dg.Definitions(
        assets=assets,
        asset_checks=[current_days],
        resources=build_resources(settings),
        jobs=[
            schedules.ingest_uploads,
            schedules.nightly_tables,
            schedules.nightly_model,
            schedules.check_current,
            reconcile.reconcile_uploads,
        ],
        schedules=[schedules.nightly, reconcile.reconcile_nightly],
        sensors=[
            uploads.new_uploads,
            schedules.model_after_tables,
            schedules.automation,
            failures.build_failure_sensor(settings),
        ],
        executor=dg.in_process_executor,
    )


defs = build_defs(load_settings())

gc.freeze()  # All that is loaded by now stays: no collection needs to look at it again.
