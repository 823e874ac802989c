"""A fresh Darkroom for a benchmark, whose steps run in processes of their own, as a person's commands do."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from benchmarks.contests import Used, measured
from pipeline_assets.definitions import build_defs
from pipeline_assets.nightly import dagster_runs, night
from resources.servers.dagster_instance import open_instance
from resources.servers.embedded import Services
from resources.servers.services import running
from resources.settings import Settings, load_settings


@dataclass(frozen=True)
class Home:
    """Where its state is, and the settings that its steps get beside `DARKROOM_HOME`."""

    folder: Path
    module: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def step(self, name: str, *arguments: object) -> tuple[dict[str, Any], Used]:
        """Run one of the module's steps: what it printed as JSON, and what it used."""
        inherited = {key: "" for key in os.environ if key.startswith(("DARKROOM_", "DAGSTER_"))}
        env = {**inherited, "DARKROOM_HOME": str(self.folder), **self.settings}
        usage = measured([sys.executable, "-m", self.module, "--step", name, *map(str, arguments)], env=env, timeout_s=3000)
        return dict(json.loads(usage.output.splitlines()[-1])), usage


@contextmanager
def fresh_home(module: str, settings: Mapping[str, str] | None = None) -> Iterator[Home]:
    """A home in a temporary folder with its servers running."""
    with tempfile.TemporaryDirectory() as name, Services(Path(name) / "home"):
        yield Home(Path(name) / "home", module, settings or {})


def servers_cpu_s(services: Services) -> float:
    """CPU time that the running servers have used so far."""
    servers = [psutil.Process(pid) for pid in services.status().pids.values() if pid]
    families = [process for server in servers for process in (server, *server.children(recursive=True))]
    return float(sum(sum(process.cpu_times()[:2]) for process in families if process.is_running()))


def run_assets(assets: Sequence[str], day: date, build: Callable[[Settings], dg.Definitions] = build_defs) -> None:
    """One Dagster run over one day, in this process. Raises AssertionError with the reasons if it fails."""
    with (
        running(load_settings()) as settings,
        open_instance(settings) as instance,
    ):
        result = dagster_runs.execute(build(settings), instance, night.Launch(tuple(assets), day, day))
    assert result.success, dagster_runs.failures(result)
