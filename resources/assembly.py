"""Builds all resources from the settings, for Dagster's definitions and for the command line."""

from typing import Any

import dagster as dg

from resources.campaigns import CampaignFiles
from resources.classifier import ClassifierChoice
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite
from resources.filesystem import Filesystem
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.objects.resource import Objects
from resources.objects.store import objects_url
from resources.objects.upload_queue import UploadQueue
from resources.online.resource import OnlineStores
from resources.pseudo_labels import PseudoLabelPolicy
from resources.settings import Settings
from resources.staging import StagingPolicy
from resources.variant_policy import VariantPolicy


def build_resources(settings: Settings) -> dict[str, object]:
    """All resources by key. Addresses and secrets are environment variables that are read at run time and never shown.

    `s3` is Dagster's own, for your assets. Its import takes a fifth of that of all others, so that `resolve` leaves it out.
    """
    from dagster_aws.s3 import S3Resource

    s3 = S3Resource(
        region_name=settings.s3_region,
        endpoint_url=dg.EnvVar("DARKROOM_S3_ENDPOINT") if settings.s3_endpoint else None,
        aws_access_key_id=dg.EnvVar("DARKROOM_S3_ACCESS_KEY") if settings.s3_access_key else None,
        aws_secret_access_key=dg.EnvVar("DARKROOM_S3_SECRET_KEY") if settings.s3_secret_key else None,
    )
    return {**_resources(settings), "s3": s3}


def _resources(settings: Settings) -> dict[str, object]:
    s3: dict[str, Any] = {
        "endpoint": dg.EnvVar("DARKROOM_S3_ENDPOINT"),
        "access_key": dg.EnvVar("DARKROOM_S3_ACCESS_KEY"),
        "secret_key": dg.EnvVar("DARKROOM_S3_SECRET_KEY"),
        "region": settings.s3_region,
    }
    lake = Lake(url=settings.lake_url, **s3)
    return {
        "database": (Sqlite if settings.uses_sqlite else Postgres)(url=dg.EnvVar("DARKROOM_DATABASE_URL")),
        "online": OnlineStores(url=dg.EnvVar("DARKROOM_ONLINE_URL"), file=str(settings.home / "online.db")),
        "lake": lake,
        "io_manager": LakeIO(lake=lake),
        "uploads": Objects(url=settings.uploads_url, **s3),
        "upload_queue": UploadQueue(
            url=settings.uploads_queue_url or "",
            **{name: value for name, value in s3.items() if name != "endpoint"},
        ),
        "lake_bucket": Objects(url=settings.lake_url, **s3),
        "objects": Objects(url=objects_url(settings), **s3),
        "classifier": ClassifierChoice(model=settings.model, device=settings.device, cache=str(settings.home / "compiled")),
        "campaigns": CampaignFiles(folder=str(settings.campaigns)),
        "variant_policy": VariantPolicy(**settings.variants),
        "pseudo_label_policy": PseudoLabelPolicy(may_be_taken=settings.pseudo_labels),
        "local_disk": Filesystem(root=str(settings.staging)),
        "map_files": Filesystem(root=str(settings.home / "map")),
        "staging_policy": StagingPolicy(keep=settings.staging_keep),
    }


def resolve(settings: Settings) -> dict[str, Any]:
    """The same resources with resolved environment variables, for use outside a run.

    Dagster's own way creates an instance with a database for each of them: half a second of every command.
    """
    return {
        name: type(resource)(**{field: _read(getattr(resource, field)) for field in type(resource).model_fields})
        for name, resource in _resources(settings).items()
        if isinstance(resource, dg.ConfigurableResource)
    }


def _read(value: Any) -> Any:
    return value.get_value() if isinstance(value, dg.EnvVar) else value
