"""The one assembly of everything that Dagster serves: assets, resources, jobs, schedules, sensors."""

import dagster as dg

from pipeline_assets.classify import assets as classify
from pipeline_assets.features import assets as features
from pipeline_assets.ingestion import assets as ingestion
from pipeline_assets.training import assets as training
from resources.classifier import ClassifierChoice
from resources.filesystem import Filesystem
from resources.lake import Lake, LakeIO
from resources.objects import Objects
from resources.postgres import Postgres
from resources.settings import Settings, load_settings
from resources.staging import StagingPolicy
from sensors import failures, schedules, uploads


def build_resources(settings: Settings) -> dict[str, object]:
    """Every resource by its key. Addresses and secrets are environment variables, read at run time and never shown."""
    s3 = {
        "endpoint": dg.EnvVar("DARKROOM_S3_ENDPOINT"),
        "access_key": dg.EnvVar("DARKROOM_S3_ACCESS_KEY"),
        "secret_key": dg.EnvVar("DARKROOM_S3_SECRET_KEY"),
        "region": settings.s3_region,
    }
    lake = Lake(url=settings.lake_url, **s3)
    return {
        "postgres": Postgres(url=dg.EnvVar("DARKROOM_POSTGRES_URL")),
        "lake": lake,
        "io_manager": LakeIO(lake=lake),
        "uploads": Objects(url=settings.uploads_url, **s3),
        "lake_bucket": Objects(url=settings.lake_url, **s3),
        "objects": Objects(url=f"{settings.lake_url.rstrip('/')}/objects", **s3),
        "classifier": ClassifierChoice(model=settings.model, device=settings.device, cache=str(settings.home / "compiled")),
        "local_disk": Filesystem(root=str(settings.staging)),
        "staging_policy": StagingPolicy(keep=settings.staging_keep, window_days=settings.training_window_days),
    }


def build_defs(settings: Settings) -> dg.Definitions:
    """The code location for these settings; tests call it with their own."""
    assets = dg.load_assets_from_modules([ingestion, classify, features, training])
    return dg.Definitions(
        assets=assets,
        resources=build_resources(settings),
        jobs=[schedules.ingest_uploads, schedules.nightly_tables, schedules.nightly_model],
        schedules=[schedules.nightly],
        sensors=[
            uploads.new_uploads,
            schedules.model_after_tables,
            schedules.automation,
            failures.build_failure_sensor(settings),
        ],
        executor=dg.in_process_executor,
    )


defs = build_defs(load_settings())
