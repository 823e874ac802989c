"""The service: answers asks with the model of the moment, and logs them. It is one object for all requests.

What does not live here: HTTP (`http/`), and where models, photos and states come from (`running.py`).
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline_assets.errors import AskRefused, BadUpload
from pipeline_assets.features.popularity import MATURITY
from pipeline_assets.ingestion.keys import UploadKey, parse_upload_key
from pipeline_assets.serving.endpoint.asked_log import AskedLog, is_sampled
from pipeline_assets.serving.endpoint.asks import Ask, ask_of
from pipeline_assets.serving.endpoint.content import Content, PhotoReader
from pipeline_assets.serving.endpoint.scoring import ServedModel, classifier_fault, columns_of, interval, predict
from pipeline_assets.serving.endpoint.users import Store, UserFeatures, features_of

SHOWN = 20
"""Last predictions on the status page."""


@dataclass(frozen=True)
class LogPolicy:
    """share: of asks that are logged. with_users: whether their user ids are."""

    share: float = 1.0
    with_users: bool = True


@dataclass
class Clock:
    """The time of this server, which never falls: a clock that is set back stands still until it is reached again."""

    read: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    set_back_s: float = 0.0
    _last: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The latest time that was ever read. set_back_s: by how much the clock lies behind it now."""
        now = self.read()
        self.set_back_s = max(0.0, (self._last - now) / timedelta(seconds=1))
        self._last = max(self._last, now)
        return self._last


@dataclass
class Service:
    """Answers of one process. model, shadow: replaced as a whole while requests run. upload: an upload's bytes by its key.

    workers: threads, each with torch on one; most_waiting: predictions that may wait for them. is_store_quick: whether a
    read takes microseconds, and needs no thread. lately: skew and drift of the newest day of the log, None if none is known.
    """

    reader: PhotoReader
    store: Store
    workers: Executor
    upload: Callable[[str], bytes]
    log: AskedLog | None
    policy: LogPolicy
    most_waiting: int
    is_store_quick: bool = True
    model: ServedModel | None = None
    shadow: ServedModel | None = None
    clock: Clock = field(default_factory=Clock)
    waiting: int = 0
    lately: dict[str, Any] | None = None
    last: "deque[dict[str, Any]]" = field(default_factory=lambda: deque(maxlen=SHOWN))

    async def features(self, fields: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """The features of a user at a moment. Raises AskRefused, and errors of the store."""
        ask = ask_of(fields, self._now(), with_photo=False)
        user = await self._user(ask)
        answer = {"features": user.values, **_moments(ask, user), "request_id": request_id}
        self._log("features", ask, user, request_id, {})
        return answer

    async def predict(self, fields: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """The prediction for a posting. Raises AskRefused, and errors of the stores."""
        ask = ask_of(fields, self._now(), with_photo=True)
        model, shadow = self._usable_model(), self.shadow
        user = await self._user(ask)
        content = await self._in_turn(lambda: self._content(ask))
        columns = columns_of(ask, content, user.values)
        popularity = predict(model, content, columns)
        bounds = interval(model, popularity)
        answer = {
            "popularity": popularity,
            "views_7d": MATURITY.days * (2**popularity - 1),
            "interval": bounds,
            "features": user.values,
            **_moments(ask, user),
            "photo": {"sha256": content.sha256, "top_class": content.top_class, "top_probability": content.top_probability},
            "model": model.about(),
            "request_id": request_id,
        }
        extra = {"shadow": {**shadow.about(), "popularity": predict(shadow, content, columns)}} if shadow else {}
        self._log("predict", ask, user, request_id, {**_predicted(answer, columns), **extra})
        self.last.append({"at": ask.moment.isoformat(timespec="seconds"), "top_class": content.top_class} | _short(answer))
        return answer

    def _usable_model(self) -> ServedModel:
        """The model of the moment. Raises AskRefused if there is none for the photos' embeddings."""
        model = self.model
        if model is None:
            raise AskRefused(503, "no_model", "there is no model yet: the nightly job trains one (`darkroom run`)")
        if fault := classifier_fault(model, self.reader.classifier.model_id):
            raise AskRefused(503, "wrong_classifier", fault)
        return model

    @property
    def can_predict(self) -> bool:
        """Whether a model is there that reads these embeddings."""
        return self.model is not None and not classifier_fault(self.model, self.reader.classifier.model_id)

    def _now(self) -> datetime:
        return self.clock.now()

    async def _user(self, ask: Ask) -> UserFeatures:
        if self.is_store_quick:
            return features_of(self.store, ask.user_id, ask.moment)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, features_of, self.store, ask.user_id, ask.moment)

    async def _in_turn(self, work: Callable[[], Content]) -> Content:
        if self.waiting >= self.most_waiting:
            raise AskRefused(503, "overloaded", f"{self.waiting} predictions wait for a core: try again later")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.workers, work)
        finally:
            self.waiting -= 1

    def _content(self, ask: Ask) -> Content:
        """The photo's content. Bytes are refused by the verdicts of ingestion."""
        data, name = ask.photo, ""
        if ask.key is not None:
            owner = parse_upload_key(ask.key)
            if not isinstance(owner, UploadKey) or owner.user_id != ask.user_id:
                raise AskRefused(422, "bad_key", "the key belongs to another user")
            data, name = self.upload(ask.key), ask.key
        try:
            return self.reader.read(data or b"", name)
        except BadUpload as bad:
            raise AskRefused(422, bad.reason, bad.detail) from None

    def _log(self, route: str, ask: Ask, user: UserFeatures, request_id: str, extra: Mapping[str, Any]) -> None:
        ask_id = secrets.token_hex(8)
        if self.log is None or not is_sampled(ask_id, self.policy.share):
            return
        now = self._now()
        record = {
            "ask_id": ask_id,
            "request_id": request_id,
            "route": route,
            "asked_at": now.isoformat(),
            "user_id": ask.user_id if self.policy.with_users else None,
            **_moments(ask, user),
            "known_through": user.known_through.isoformat(),
            "features": user.values,
            **extra,
        }
        self.log.append(record, now)


def _moments(ask: Ask, user: UserFeatures) -> dict[str, Any]:
    """as_of: the moment of the features. t0: from which moment on the state has its steps."""
    return {"as_of": ask.moment.isoformat(), "t0": user.t0.isoformat(), "generation": user.generation}


def _predicted(answer: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """What the log keeps of a prediction: no text of a user."""
    bounds = answer["interval"] or {"low": None, "high": None}
    return {
        "popularity": answer["popularity"],
        "low": bounds["low"],
        "high": bounds["high"],
        "sha256": answer["photo"]["sha256"],
        "model": answer["model"],
        "columns": dict(columns),
    }


def _short(answer: Mapping[str, Any]) -> dict[str, Any]:
    bounds = answer["interval"] or {"low": None, "high": None}
    return {
        "popularity": round(answer["popularity"], 3),
        "low": bounds["low"],
        "high": bounds["high"],
        "night": answer["model"]["night"],
    }
