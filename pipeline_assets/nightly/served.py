"""The end of `darkroom run`: one prediction over HTTP, from the newest photo, model and state."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.text import Text

from pipeline_assets.errors import DarkroomError
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from resources.errors import ResourceError
from resources.lake.lake import Lake
from resources.settings import Settings

TIMEOUT_S = 60


def print_prediction(settings: Settings, resources: Mapping[str, Any], console: Terminal) -> None:
    """Ask the endpoint how popular the newest photo would be if its user posted it now, and print the answer.

    Nothing is asked without a photo and a model. What fails is printed, and fails no run.
    """
    lake: Lake = resources["lake"]
    try:
        if not (lake.exists("raw_uploads") and lake.exists("popularity_model")):
            return
        newest = lake.newest("raw_uploads", IS_PHOTO & pl.col("user_id").is_not_null(), 1, ["key", "version_id"])
        if newest.is_empty():
            return
        console.print(_sentence(settings, newest.select("user_id", "key").row(0, named=True)))
    except (DarkroomError, ResourceError, OSError, http.client.HTTPException) as error:
        console.print(Text("No prediction was served:", "yellow"), one_line(f"{type(error).__name__}: {error}"))


def _sentence(settings: Settings, photo: Mapping[str, Any]) -> str:
    from pipeline_assets.serving.endpoint.running import serving_here  # torch, which the run has imported for its model

    with serving_here(settings) as (port, token):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        started = time.monotonic()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        connection.request("POST", "/v1/predict", json.dumps(photo), headers)
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        elapsed_ms = 1000 * (time.monotonic() - started)
        connection.close()
    if reply.status != 200:
        return f"No prediction was served: {answer['reason']} ({answer['detail']})."
    bounds = answer["interval"]
    within = f", {bounds['low']:.2f} to {bounds['high']:.2f} in {bounds['coverage']:.0%} of cases" if bounds else ""
    known = sum(value not in (None, 0) for value in answer["features"].values())
    return (
        f"Served:  POST /v1/predict for {one_line(photo['key'])} posted now: popularity {answer['popularity']:.2f}{within}; "
        f"{known} features of user {photo['user_id']} as of {answer['as_of'][:19]}Z are not zero; "
        f"model of {answer['model']['night']}; {elapsed_ms:.0f} ms. Serve it: .venv/bin/darkroom serve"
    )
