"""Settings: where they come from, which wins, and that a secret is never shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr, ValidationError

from resources.assembly import resolve
from resources.database.sqlite import path_of
from resources.errors import SettingTwice
from resources.files import write_secret
from resources.settings import Settings, env_lines, export, load_settings, plain, shell_lines

SECRETS = {
    "database_url": "postgresql://darkroom:s3cr3t-pg@127.0.0.1:5432/darkroom",
    "dagster_postgres_url": "postgresql://darkroom:s3cr3t-dg@127.0.0.1:5432/dagster",
    "s3_access_key": "s3cr3t-access",
    "s3_secret_key": 's3cr3t\'secret $(id) `id` "x" \\',
    "alert_webhook": "https://hooks.example.org/s3cr3t-hook",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but a test's own; what a test exports is taken back."""
    for name in [*os.environ, "DARKROOM_POSTGRES_URL", *(f"DARKROOM_{name.upper()}" for name in Settings.model_fields)]:
        if name.startswith("DARKROOM_"):
            monkeypatch.setenv(name, "")


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, **SECRETS)
    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
        json.dumps(settings.model_dump(mode="json")),
    ]
    assert not [text for text in shown if "s3cr3t" in text]
    assert plain(settings.s3_secret_key) == SECRETS["s3_secret_key"]


def test_no_resource_shows_a_secret_in_a_traceback(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, uploads_url="s3://uploads", lake_url="s3://lake", **SECRETS)
    export(settings)
    resources = resolve(settings)
    assert resources["lake"].secret_key == SECRETS["s3_secret_key"]
    assert not [name for name, resource in resources.items() if "s3cr3t" in f"{resource!r} {resource}"]


def test_every_setting_that_names_a_secret_is_a_secret() -> None:
    telling = ("key", "password", "token", "webhook", "database_url", "postgres_url")
    for name, field in Settings.model_fields.items():
        is_file = field.annotation == (Path | None)  # of a key, which is no secret itself
        if any(word in name for word in telling) and not is_file:
            assert field.annotation in (SecretStr, SecretStr | None), name


def test_a_wrong_setting_is_refused_without_repeating_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY", "s3cr3t")
    monkeypatch.setenv("DARKROOM_UI_PORT", "70000")
    with pytest.raises(ValidationError, match="ui_port") as found:
        Settings()
    assert "s3cr3t" not in str(found.value)


def test_the_environment_wins_over_the_file_that_wins_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    assert load_settings().s3_endpoint is None
    write_secret(tmp_path / "env", "DARKROOM_S3_ENDPOINT=http://127.0.0.1:1\nDARKROOM_EMBEDDED=true\n")
    monkeypatch.setenv("DARKROOM_S3_REGION", "us-west-2")
    found = load_settings()
    assert (found.s3_endpoint, found.s3_region, found.embedded) == ("http://127.0.0.1:1", "us-west-2", True)
    assert found.lake_url == "s3://lake"


def test_an_empty_variable_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    monkeypatch.setenv("DARKROOM_DATABASE_URL", "")
    monkeypatch.setenv("DARKROOM_STAGING_KEEP", "")
    found = load_settings()
    assert found.database_url is None
    assert found.wants_embedded
    assert found.staging_keep == 3


def test_a_database_of_ones_own_means_no_embedded_servers(tmp_path: Path) -> None:
    assert not Settings(home=tmp_path, database_url=SECRETS["database_url"]).wants_embedded
    assert Settings(home=tmp_path, database_url=SECRETS["database_url"], embedded=True).wants_embedded


@pytest.mark.parametrize(
    ("more", "servers"),
    [
        ({}, ("s3",)),
        ({"uploads_url": "file:///u", "lake_url": "file:///l"}, ()),
        ({"uploads_url": "file:///u"}, ("s3",)),
        ({"s3_endpoint": "https://s3.example.com"}, ()),
        ({"s3_access_key": "k", "s3_secret_key": "s"}, ()),
        ({"s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "k", "embedded": True}, ("s3",)),
        ({"uploads_url": "file:///u", "lake_url": "file:///l", "embedded": True}, ()),
    ],
)
def test_beside_sqlite_no_postgres_is_embedded_and_s3_only_where_it_is_used_and_not_yours(
    tmp_path: Path, more: dict[str, object], servers: tuple[str, ...]
) -> None:
    found = Settings(home=tmp_path, database_url="sqlite:////data/darkroom.db", **more)
    assert found.embedded_servers == servers
    assert found.wants_embedded == bool(servers)
    assert found.is_dagster_local
    assert not found.model_copy(update={"dagster_postgres_url": SecretStr("postgresql://x")}).is_dagster_local


def test_the_path_of_an_sqlite_file_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plain(Settings(database_url="sqlite:///data/a.db").database_url) == f"sqlite:///{tmp_path}/data/a.db"
    assert plain(Settings(database_url="sqlite:////data/a.db").database_url) == "sqlite:////data/a.db"
    odd = tmp_path / "a %20 b"
    odd.mkdir()
    monkeypatch.chdir(odd)
    for name in ("a.db", "100%25.db", "ü.db"):
        url = plain(Settings(database_url=f"sqlite:///{name}").database_url)
        assert path_of(url) == odd / name.replace("%25", "%")
        assert plain(Settings(database_url=url).database_url) == url
    for url in ("sqlite:///", "sqlite:///:memory:"):
        assert plain(Settings(database_url=url).database_url) == url


@pytest.mark.parametrize(
    ("query", "held"),
    [
        ("", "?require_auth=%21password"),
        ("?options=-csearch_path%3Dx", "?options=-csearch_path%3Dx&require_auth=%21password"),
        ("?sslmode=prefer", "?sslmode=prefer&require_auth=%21password"),
        ("?sslmode=require", "?sslmode=require"),
        ("?sslmode=verify-full", "?sslmode=verify-full"),
        ("?require_auth=password", "?require_auth=password"),
    ],
)
def test_a_password_may_go_in_clear_only_where_the_address_says_so_or_is_encrypted(query: str, held: str) -> None:
    address = "postgresql://me:secret@db.example.com/app"
    found = Settings(database_url=address + query, dagster_postgres_url=address + query)
    assert (plain(found.database_url), plain(found.dagster_postgres_url)) == (address + held, address + held)
    assert plain(Settings(database_url=found.database_url).database_url) == address + held


def test_beside_sqlite_the_address_that_an_earlier_start_had_for_dagster_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    monkeypatch.setenv("DARKROOM_DATABASE_URL", "sqlite:////data/a.db")
    write_secret(
        tmp_path / "env",
        "DARKROOM_EMBEDDED=true\nDARKROOM_POSTGRES_URL=postgresql://darkroom:x@127.0.0.1:1/old\nDARKROOM_DAGSTER_POSTGRES_URL=postgresql://darkroom:x@127.0.0.1:1/old\n"
        "DARKROOM_S3_ENDPOINT=http://127.0.0.1:9\n",
    )
    found = load_settings()
    assert (found.uses_sqlite, found.dagster_postgres_url, found.s3_endpoint) == (True, None, "http://127.0.0.1:9")
    monkeypatch.setenv("DARKROOM_DAGSTER_POSTGRES_URL", "postgresql://mine")
    assert plain(load_settings().dagster_postgres_url) == "postgresql://mine?require_auth=%21password"


def test_the_former_name_of_the_database_works_and_says_its_present_name_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_POSTGRES_URL", "sqlite:///a.db")
    assert plain(load_settings().database_url) == os.environ["DARKROOM_DATABASE_URL"] == f"sqlite:///{tmp_path}/a.db"
    load_settings()
    said = "DARKROOM_POSTGRES_URL is now called DARKROOM_DATABASE_URL; the former name still works.\n"
    assert capsys.readouterr().err == said


def test_a_dagster_yaml_that_reads_the_former_name_is_read_after_the_definitions_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_POSTGRES_URL", "sqlite:///a.db")
    (tmp_path / "dagster.yaml").write_text("storage: {sqlite: {base_dir: {env: DARKROOM_POSTGRES_URL}}}\n")
    load_settings()
    assert os.environ["DARKROOM_POSTGRES_URL"] == os.environ["DARKROOM_DATABASE_URL"] == f"sqlite:///{tmp_path}/a.db"
    load_settings()
    with dg.DagsterInstance.from_config(str(tmp_path)):
        pass


def test_under_both_names_the_same_database_is_fine_and_two_databases_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_DATABASE_URL", f"sqlite:///{tmp_path}/a.db")
    monkeypatch.setenv("DARKROOM_POSTGRES_URL", "sqlite:///a.db")
    assert plain(load_settings().database_url) == f"sqlite:///{tmp_path}/a.db"
    monkeypatch.setenv("DARKROOM_POSTGRES_URL", "sqlite:///b.db")
    for _ in range(2):
        with pytest.raises(SettingTwice, match="name two databases: unset one of them"):
            load_settings()


def test_the_file_of_the_servers_has_the_former_name_which_older_code_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    url = "postgresql://darkroom:x@127.0.0.1:1/darkroom?require_auth=scram-sha-256"
    write_secret(tmp_path / "env", env_lines({"embedded": "true", "database_url": url}))
    assert (tmp_path / "env").read_text() == f"DARKROOM_EMBEDDED=true\nDARKROOM_POSTGRES_URL={url}\n"
    assert plain(load_settings().database_url) == url


def test_connection_settings_reach_the_environment_where_dagster_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    write_secret(tmp_path / "env", "DARKROOM_S3_ACCESS_KEY=from-file\n")
    load_settings()
    assert os.environ["DARKROOM_S3_ACCESS_KEY"] == "from-file"
    assert os.environ["DARKROOM_S3_SECRET_KEY"] == ""


def test_paths_are_absolute_and_know_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().home == tmp_path / ".darkroom"
    assert Settings(home=Path("~/x")).staging == tmp_path / "x" / "staging"
    assert Settings(staging_dir=Path("fast")).staging == tmp_path / "fast"


def test_shell_lines_survive_a_shell_whatever_they_hold(tmp_path: Path) -> None:
    home = tmp_path / "it's a home"
    settings = Settings(home=home, s3_endpoint="http://127.0.0.1:9000", **SECRETS)
    lines = shell_lines(settings)
    assert all(line.startswith("export ") and "\n" not in line for line in lines)
    dump = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    script = "\n".join([*lines, dump])
    told = json.loads(subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True, env={}).stdout)
    assert told["AWS_SECRET_ACCESS_KEY"] == told["DARKROOM_S3_SECRET_KEY"] == SECRETS["s3_secret_key"]
    assert told["DATABASE_URL"] == SECRETS["database_url"]
    assert told["AWS_ENDPOINT_URL"] == told["RCLONE_CONFIG_DARKROOM_ENDPOINT"] == "http://127.0.0.1:9000"
    assert told["DARKROOM_HOME"] == str(home)


def test_what_is_not_set_has_no_shell_line(tmp_path: Path) -> None:
    names = {line.split("=")[0] for line in shell_lines(Settings(home=tmp_path))}
    assert "export AWS_ACCESS_KEY_ID" not in names
    assert "export DARKROOM_HOME" in names
