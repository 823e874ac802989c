"""The sensor of failed runs: one line in its log and, if one is set, a post to a webhook."""

import json
import urllib.request
from urllib.parse import urlsplit

import dagster as dg

from resources.settings import Settings

TIMEOUT_S = 10


def message(run_id: str, job: str, days: str, steps: dict[str, str]) -> str:
    """One paragraph with the failed run, its days, its failed steps, and what to do."""
    causes = "; ".join(f"{step}: {error}" for step, error in steps.items()) or "no step failed: see the run's log"
    return (
        f"Run {run_id[:8]} of {job} failed on {days}. {causes}. "
        "What other days had is kept. Open the run in the UI, mend the cause, and re-execute it from failure."
    )


def post(url: str, text: str) -> None:
    """Post {"text": ...} as JSON, the format of Slack and most chat webhooks. Raises OSError if the delivery fails."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("DARKROOM_ALERT_WEBHOOK must be an http(s) URL")
    request = urllib.request.Request(  # noqa: S310  the scheme is checked above
        url, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
        pass


def build_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """The run-failure sensor; it posts to the alert webhook if one is set."""
    webhook = settings.alert_webhook

    @dg.run_failure_sensor(
        name="run_failures",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports every failed run in the log of this sensor, and to DARKROOM_ALERT_WEBHOOK if that is set.",
    )
    def run_failures(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        steps = {}
        for event in context.get_step_failure_events():
            failure = event.step_failure_data.user_failure_data
            error = event.step_failure_data.error
            cause = error.message if error else "failed"
            steps[event.step_key or "?"] = (failure.description if failure else None) or cause
        first = run.tags.get("dagster/asset_partition_range_start") or run.tags.get("dagster/partition", "no day")
        last = run.tags.get("dagster/asset_partition_range_end")
        text = message(run.run_id, run.job_name, f"{first} to {last}" if last else first, steps)
        context.log.error(text)
        if webhook is not None:
            post(webhook.get_secret_value(), text)

    return run_failures
