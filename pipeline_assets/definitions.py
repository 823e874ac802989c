"""Assembles the Dagster code location: assets, resources, jobs, schedules, sensors."""

import gc

import dagster as dg

from pipeline_assets.catalog import MODULES
from pipeline_assets.framework.partitions import require_declared
from pipeline_assets.framework.run_executor import run_executor
from pipeline_assets.nightly.calendars import MODEL, NEWEST, TABLES
from pipeline_assets.nightly.current_check import current_days
from resources.assembly import build_resources
from resources.settings import Settings, load_settings
from sensors import failures, labels, reconcile, schedules, uploads

night = schedules.nights(TABLES, (*NEWEST, *MODEL))


def build_defs(settings: Settings) -> dg.Definitions:
    """Build the code location for these settings; tests pass their own.

    Raises SettingsDiffer if a setting in the assets' declarations has another value than when they were loaded.
    """
    require_declared(settings)
    assets = dg.load_assets_from_modules(MODULES)
    return dg.Definitions(
        assets=assets,
        asset_checks=[current_days],
        resources=build_resources(settings),
        jobs=[
            schedules.ingest_uploads,
            night.tables,
            night.model,
            night.check_current,
            reconcile.reconcile_uploads,
        ],
        schedules=[night.at_night, reconcile.reconcile_nightly],
        sensors=[
            uploads.new_uploads,
            night.model_after_tables,
            night.model_after_failed_days,
            schedules.automation,
            labels.build_label_sensor(settings),
            failures.build_failure_sensor(settings),
        ],
        executor=run_executor,
    )


defs = build_defs(load_settings())

gc.freeze()  # All loaded objects live as long as the process: the garbage collector can skip them.
