"""A small project that can be served: users with a history in the online store, a model in the lake, on SQLite and folders."""

import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import torch
from in_process import environment_of
from processes import lines_of, started

from pipeline_assets.classify.model_files import BUILT_IN, model_id
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata
from pipeline_assets.serving.endpoint.http.access import Access
from pipeline_assets.serving.endpoint.running import Asked, answering, service_of
from pipeline_assets.serving.endpoint.service import Clock, Service
from pipeline_assets.serving.state import layout
from pipeline_assets.serving.state.building import states
from pipeline_assets.serving.state.period import Period
from pipeline_assets.training.model import weights
from pipeline_assets.training.model.feature_matrix import NAMES
from pipeline_assets.training.model.popularity_model import FORMAT
from pipeline_assets.training.model.popularity_net import PopularityNet
from pipeline_assets.training.schemas import PopularityModel
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore
from resources.online.sqlite import SqliteStore
from resources.settings import Settings, load_settings

NOW = datetime.now(UTC)
T0 = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
"""Of the state: the beginning of today."""
JOINED = T0 - timedelta(days=100)
NEW_USER_JOINED = T0 + timedelta(minutes=1)
USERS = pl.DataFrame(
    {"user_id": [1, 2, 3], "joined_at": [JOINED, JOINED, NEW_USER_JOINED]},
    schema={"user_id": pl.Int64, "joined_at": pl.Datetime("us", "UTC")},
)
PATIENCE_S = 240


def events() -> pl.DataFrame:
    """Logins of user 1, and likes of user 2 for a photo of user 1."""
    rows = [(f"login {n}", 1, None, "login", T0 - timedelta(hours=5 * n + 1)) for n in range(20)]
    rows += [(f"like {n}", 2, 10, "like", T0 - timedelta(hours=n + 1)) for n in range(3)]
    return pl.DataFrame(
        [(at.date(), name, user, photo, kind, at, at, None) for name, user, photo, kind, at in rows],
        schema=EventLog.create_empty().schema,
        orient="row",
    )


def photos() -> pl.DataFrame:
    """A photo of user 1, which matured in the last days."""
    posted = T0 - timedelta(days=9)
    row = (posted.date(), 10, 1, f"uploads/{posted.date()}/1/a.jpg", posted, "a title", None, 5, JOINED, "{}")
    return pl.DataFrame([row], schema=PhotoMetadata.create_empty().schema, orient="row")


def model_bytes(seed: int, classifier: str | None = None) -> bytes:
    """Weights of a model with the shape of a trained one."""
    random = torch.Generator().manual_seed(seed)
    net = PopularityNet(1280, len(NAMES))
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random) * 0.05
    net.label_mean.fill_(2.5)
    facts = {"format": FORMAT, "features": ",".join(NAMES), "model_id": classifier or model_id(BUILT_IN), "seed": str(seed)}
    return weights.to_bytes(net.state_dict(), facts)


def model_row(night: date, sha256: str, size: int, half_width: float | None = 0.75) -> dict[str, Any]:
    """A row of `popularity_model`."""
    row: dict[str, Any] = {name: None for name in PopularityModel.column_names()}
    counts = {name: 50 for name in ("rows_train", "rows_validation", "rows_test")}
    scores = {name: 0.5 for name in ("r2", "r2_mean", "r2_metadata", "r2_ridge", "training_s")}
    facts = {"weights_sha256": sha256, "weights_bytes": size, "pin_identity": f"{night.toordinal():064x}"}
    zeros = {"seed": 0, "epochs": 1, "rows_set_aside": 0, "rows_variants": 0, "table_versions_json": "{}"}
    return {**row, "day": night, **counts, **scores, **facts, **zeros, "half_width_90": half_width, "coverage_90": 0.9}


@dataclass(frozen=True)
class ServedWorld:
    """A project's home, lake and uploads below one folder. servers: settings of real servers in place of SQLite and folders."""

    folder: Path
    servers: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of its processes."""
        ours = {
            "HOME": self.folder / "home",
            "DATABASE_URL": f"sqlite:///{self.folder}/darkroom.db",
            "LAKE_URL": f"file://{self.folder}/lake",
            "UPLOADS_URL": f"file://{self.folder}/uploads",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
        return {
            **kept,
            **{f"DARKROOM_{name}": str(value) for name, value in {**ours, **self.servers}.items()},
            "NO_COLOR": "1",
        }

    @property
    def s3(self) -> dict[str, str]:
        """How the lake's bucket is reached; nothing for a folder."""
        names = {"endpoint": "S3_ENDPOINT", "access_key": "S3_ACCESS_KEY", "secret_key": "S3_SECRET_KEY"}
        return {key: self.servers[name] for key, name in names.items() if name in self.servers}

    @property
    def lake(self) -> Lake:
        return Lake(url=self.environment["DARKROOM_LAKE_URL"], **self.s3)

    @property
    def store(self) -> SqliteStore:
        return SqliteStore(self.folder / "home" / "online.db")

    def add_model(self, night: date, seed: int, **facts: Any) -> str:
        """Commit a night's model, as the asset does: its weights first. Returns their sha256."""
        half_width = facts.pop("half_width", 0.75)
        data = model_bytes(seed, **facts)
        ref = ObjectStore.open(f"{self.environment['DARKROOM_LAKE_URL']}/objects", **self.s3).put_if_absent(data)
        row = model_row(night, ref.sha256, len(data), half_width)
        frame = pl.DataFrame([row], schema=PopularityModel.create_empty().schema, orient="row")
        self.lake.replace("popularity_model", [night], frame)
        return ref.sha256

    def publish(self, t0: datetime = T0, horizon: timedelta = timedelta(hours=36)) -> None:
        """Build the states of all users and publish them."""
        store = self.store
        draft = store.begin(t0, int(horizon.total_seconds()), layout.FORMAT)
        store.write(draft, states(USERS, events().lazy(), photos().lazy(), Period(t0, horizon)))
        draft = store.complete(draft, position="")
        lease = store.lease("test", 60)
        assert lease is not None
        store.publish(lease, draft, position="")
        store.release(lease)
        store.close()


def world(folder: Path) -> ServedWorld:
    """A world with a state and one model, of yesterday's night."""
    made = ServedWorld(folder)
    for name in ("home", "lake", "uploads"):
        (folder / name).mkdir(mode=0o700, parents=True)
    made.publish()
    made.add_model(T0.date() - timedelta(days=1), seed=1)
    return made


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running server. lines: what it has printed. trust: whom a client of its HTTPS trusts."""

    url: str
    lines: list[str]
    pid: int
    trust: ssl.SSLContext | None = None

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """The answer to a request, also if it is a refusal."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, named)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:  # noqa: S310
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def post(self, path: str, fields: Any, **headers: str) -> Answer:
        """The answer to JSON."""
        return self.ask(path, json.dumps(fields).encode(), Content_Type="application/json", **headers)

    def predict(self, photo: bytes, **fields: Any) -> Answer:
        """The answer to a form."""
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        body = b"".join(parts) + head + photo + b"\r\n--b--\r\n"
        return self.ask("v1/predict", body, Content_Type="multipart/form-data; boundary=b")


@contextmanager
def serving(made: ServedWorld, *options: str, **settings: str) -> Iterator[Served]:
    """A server of this world on a free port, until the block ends; then it is told to end, and does."""
    command = [Path(sys.executable).with_name("darkroom"), "serve", "--port", "0", *options]
    with started(command, {**made.environment, **settings}) as process:
        lines = lines_of(process)
        until(lambda: any("://127.0.0.1:" in line for line in lines) or process.poll() is not None)
        found = re.search(r"https?://127\.0\.0\.1:\d+/", "".join(lines))
        assert found, "".join(lines)
        yield Served(found[0], lines, process.pid)
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def service_here(made: ServedWorld, now: Callable[[], datetime] | None = None) -> Iterator[tuple[Settings, Service]]:
    """The service of this world in this process, and its settings. now: its clock."""
    with ExitStack() as stack:
        with environment_of(made.environment):
            settings = load_settings()
            service = stack.enter_context(service_of(settings, Asked(), print))
        service.clock = Clock(now) if now else Clock()
        yield settings, service


@contextmanager
def answered(service: Service, access: Access, trust: ssl.SSLContext | None = None) -> Iterator[Served]:
    """A server of a service on a thread of this process, with a gate, certificate and numbers of its own."""
    with answering(service, access) as port:
        yield Served(f"{access.scheme}://127.0.0.1:{port}/", [], os.getpid(), trust)


def until(holds: Any) -> None:
    """Wait for an event."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
