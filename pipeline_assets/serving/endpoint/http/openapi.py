"""The description of the endpoint: OpenAPI 3.1 for programs, and the same as a page for people."""

from html import escape
from typing import Any

from pipeline_assets.features.history import FEATURES as USER_FEATURES

_NUMBER, _TEXT, _TIME = {"type": "number"}, {"type": "string"}, {"type": "string", "format": "date-time"}
_USER = {"type": "integer", "minimum": 0, "description": "the user who posts"}
_MOMENT = {**_TIME, "description": "moment of the posting, with zone, not in the future; without it: now"}
_FEATURES = {
    "type": "object",
    "properties": {name: {"type": ["number", "null"]} for name in USER_FEATURES},
    "description": "what was known of the user at as_of, equal to the bit to the training table's",
}
_ANSWER: dict[str, Any] = {
    "features": _FEATURES,
    "as_of": {**_TIME, "description": "moment of the features"},
    "t0": {**_TIME, "description": "moment from which on the state has every step"},
    "generation": {"type": "integer", "description": "of the online state"},
    "request_id": {**_TEXT, "description": "the X-Request-Id that was sent, or a new one"},
}
_PREDICTION: dict[str, Any] = {
    "popularity": {**_NUMBER, "description": "log2(views of seven days / 7 + 1)"},
    "views_7d": {**_NUMBER, "description": "the same as views of seven days"},
    "interval": {
        "type": ["object", "null"],
        "properties": {name: {"type": ["number", "null"]} for name in ("low", "high", "coverage", "measured_coverage")},
        "description": "of the popularity; null if the model has too few held-out photos",
    },
    "photo": {"type": "object", "properties": {"sha256": _TEXT, "top_class": _TEXT, "top_probability": _NUMBER}},
    "model": {
        "type": "object",
        "properties": {"sha256": _TEXT, "pin": _TEXT, "night": {"type": "string", "format": "date"}},
    },
    **_ANSWER,
}
_ASK: dict[str, Any] = {
    "user_id": _USER,
    "posted_at": _MOMENT,
    "title": {**_TEXT, "description": "only its length counts, and it is not logged"},
    "location": {**_TEXT, "description": "only whether there is one counts, and it is not logged"},
    "followers": {"type": "integer", "minimum": 0, "description": "of the user at posting; without it: unknown"},
    "key": {**_TEXT, "description": "key of an upload of this user, instead of photo"},
}
_REFUSAL = {"type": "object", "properties": {"reason": _TEXT, "detail": _TEXT, "request_id": _TEXT}}
STATUSES = {
    "400": "fields that are missing, unknown or no JSON or form",
    "401": "no valid token",
    "403": "asked by another web page",
    "404": "unknown_user, unknown_key, unknown_path",
    "405": "another method",
    "408": "slow_client: the body did not come in time",
    "413": "body_too_large",
    "415": "wrong_content_type",
    "421": "unknown_host",
    "422": "future_time, before_joining, before_state, bad_user_id ..., and the verdicts on photos: truncated ...",
    "429": "too_many_requests",
    "500": "internal",
    "502": "the store of uploads refuses the key",
    "503": "no_model, no_state, state_too_old, state_unreadable, wrong_classifier, overloaded, too_slow, store_away",
}  # fmt: skip


def document(version: str) -> dict[str, Any]:
    """The OpenAPI document."""
    refusals = {status: _response(about, _REFUSAL) for status, about in STATUSES.items()}
    form = _schema({**_ASK, "photo": {"type": "string", "format": "binary"}})
    as_json = _schema({**_ASK, "photo": {"type": "string", "contentEncoding": "base64"}})
    asked_features = _schema({"user_id": _USER, "posted_at": _MOMENT})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Darkroom", "version": version, "description": "Popularity of a photo at its posting."},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "security": [{"bearer": []}, {}],
        "paths": {
            "/v1/predict": {
                "post": {
                    "summary": "Predict the popularity of a posting, from the photo's bytes or the key of an upload",
                    "requestBody": _body({"multipart/form-data": form, "application/json": as_json}),
                    "responses": {"200": _response("the prediction", _schema(_PREDICTION)), **refusals},
                }
            },
            "/v1/features": {
                "post": {
                    "summary": "The features of a user at a moment",
                    "requestBody": _body({"application/json": asked_features, "multipart/form-data": asked_features}),
                    "responses": {"200": _response("the features", _schema(_ANSWER)), **refusals},
                }
            },
            **{
                path: {"get": {"summary": about, "security": [], "responses": {"200": {"description": "ok"}}}}
                for path, about in {
                    "/healthz": "The process lives",
                    "/readyz": "A model and a state that covers this moment are there; else 503",
                    "/metrics": "Numbers in Prometheus' text format",
                    "/status.json": "What the status page shows",
                }.items()
            },
        },
    }


def _schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _body(kinds: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in kinds.items()}}


def _response(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def page(description: dict[str, Any]) -> str:
    """The description as HTML that loads nothing."""
    parts = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {path}</code></h2><p>{escape(operation['summary'])}</p>")
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                parts.append(f"<h3>Request: {kind}</h3>{_rows(content['schema'])}")
            for status, response in operation["responses"].items():
                content = response.get("content", {}).get("application/json", {}).get("schema")
                table = _rows(content) if content and status == "200" else ""
                parts.append(f"<h3>{status}</h3><p>{escape(response['description'])}</p>{table}")
    style = "body{font:15px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}td{padding:.1rem .8rem .1rem 0}"
    about = escape(description["info"]["description"])
    refusal = "Errors are JSON: <code>reason</code> for programs, <code>detail</code> for people, <code>request_id</code>."
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Darkroom: API</title><style>{style}</style>'
    return f"{head}<h1>Darkroom</h1><p>{about} {refusal} <a href='openapi.json'>openapi.json</a></p>{''.join(parts)}</html>"


def _rows(schema: dict[str, Any]) -> str:
    cells = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(str(kind.get('type')))}</td>"
        f"<td>{escape(kind.get('description', ''))}</td></tr>"
        for name, kind in schema["properties"].items()
    ]
    return f"<table>{''.join(cells)}</table>"
