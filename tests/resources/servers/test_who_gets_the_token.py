"""Label Studio's token and our secrets go to nobody else: not to whoever has the port, not into a name, not to an installer."""

import subprocess
import sys
from pathlib import Path

import pytest
from tools import settings_of

from resources.errors import InsecureEndpoint
from resources.servers import label_studio, labeling, tool_venv
from resources.servers.processes import started_s
from resources.servers.server_state import save_state


def test_a_label_studio_that_does_not_listen_yet_is_not_found(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    label_studio.account_of(settings.home)
    starting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        server = {"pid": starting.pid, "started": started_s(starting.pid)}
        save_state(settings.home, {"ports": {}, "servers": {label_studio.NAME: server}})
        assert labeling.known(settings) is not None
        assert labeling.found(settings) is None
    finally:
        starting.kill()
        starting.wait()


def test_a_url_with_a_password_is_refused_without_showing_it(tmp_path: Path) -> None:
    urls = {"label_studio_url": "https://me:pass-word@labels.invalid", "label_studio_token": "t"}
    with pytest.raises(InsecureEndpoint) as refused:
        labeling.known(settings_of(tmp_path).having(urls))
    assert "pass-word" not in str(refused.value)


def test_an_installer_gets_proxies_and_indexes_and_no_secrets() -> None:
    secrets = (
        "AWS_SESSION_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "DARKROOM_X",
        "HF_TOKEN",
        "GITHUB_TOKEN",
        "PGPASSWORD",
        "PYTHONPATH",
    )
    needed = ("PATH", "https_proxy", "NO_PROXY", "PIP_INDEX_URL", "REQUESTS_CA_BUNDLE", "LC_ALL")
    assert set(tool_venv.passed_on(dict.fromkeys((*secrets, *needed), "x"))) == set(needed)
