"""Dagster's home: `dagster.yaml`, written from the settings at each start. Secrets stay in the environment."""

from pathlib import Path

import yaml

from resources.dagster_private import LOCAL_COMPUTE_LOGS, NO_COMPUTE_LOGS
from resources.files import write
from resources.home import make_private
from resources.settings import Settings

POOLS = {"gpu": 1, "database": 4, "s3": 4, "variants": 1}
"""Limits of concurrent runs by pool; set when the UI starts, and changed there under Deployment, Concurrency."""

TICKS_KEPT_DAYS = {"skipped": 3, "success": 30, "failure": 90}


def write_dagster_home(settings: Settings) -> Path:
    """Write `HOME/dagster/dagster.yaml` and `cli.yaml`. Returns the folder, `DAGSTER_HOME`.

    `cli.yaml` is for runs inside the `darkroom` command, whose output goes to the terminal: it does not capture output.
    """
    home = settings.dagster_home
    make_private(home)
    shared = {
        "storage": _storage(settings),
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "retention": {kind: {"purge_after_days": TICKS_KEPT_DAYS} for kind in ("schedule", "sensor")},
        "concurrency": {"pools": {"granularity": "run"}, "runs": {"max_concurrent_runs": 2}},
    }
    full = {
        **shared,
        "run_launcher": {
            "module": "resources.servers.run_launcher",
            "class": "LocalRunLauncher",
            "config": {"is_everything_local": settings.is_dagster_local},
        },
        # A launch waits while the code server restarts.
        "run_coordinator": {
            "module": "dagster",
            "class": "QueuedRunCoordinator",
            "config": {"max_user_code_failure_retries": 5, "user_code_failure_retry_delay": 10},
        },
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 180,
            "max_resume_run_attempts": 0,
            "poll_interval_seconds": 15,
        },
        "compute_logs": _compute_logs(settings),
    }
    bare = {
        **shared,
        "compute_logs": NO_COMPUTE_LOGS,
    }
    for name, content in (("dagster.yaml", full), ("cli.yaml", bare)):
        header = "# Written by `darkroom up` from the settings; changes here are lost.\n"
        write(home / name, header + yaml.safe_dump(content))
    return home


def _storage(settings: Settings) -> dict[str, object]:
    """Storage of runs, events and ticks: PostgreSQL, or Dagster's own SQLite files if none is set."""
    if settings.dagster_postgres_url is not None:
        return {"postgres": {"postgres_url": {"env": "DARKROOM_DAGSTER_POSTGRES_URL"}}}
    return {"sqlite": {"base_dir": str(settings.dagster_home / "storage")}}


def _compute_logs(settings: Settings) -> dict[str, object]:
    """Stdout and stderr of runs go to the lake's bucket, where every worker and the UI can read them."""
    if not settings.lake_url.startswith("s3://"):
        logs = settings.dagster_home / "compute_logs"
        return {**LOCAL_COMPUTE_LOGS, "config": {"base_dir": str(logs)}}
    bucket, _, prefix = settings.lake_url.removeprefix("s3://").partition("/")
    config = {"bucket": bucket, "prefix": f"{prefix}/dagster/logs".lstrip("/"), "region": settings.s3_region}
    if settings.s3_endpoint:
        config["endpoint_url"] = settings.s3_endpoint
    return {"module": "dagster_aws.s3.compute_log_manager", "class": "S3ComputeLogManager", "config": config}
