"""DARKROOM_HOME: what a pull request, another user or an archive has put there is not used, and others look into none of it."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from on_folders import STRANGER, OnFolders, on_folders, stranger_reads

from resources.errors import HomeNotOurs
from resources.home import env_values, make_home
from resources.tracked import tracked_by_git

pytestmark = pytest.mark.slow

FOREIGN = "https://collector.example.org"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a second user")


@pytest.fixture
def darkroom(tmp_path: Path) -> OnFolders:
    """One that embedded servers would serve, if they were started: with SQLite, and its lake on S3."""
    return on_folders(tmp_path, DARKROOM_LAKE_URL="s3://lake", DARKROOM_UPLOADS_URL="s3://uploads")


def planted(home: Path, endpoint: str = FOREIGN, mode: int = 0o600, more: str = "") -> Path:
    """HOME/env as somebody else would have it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = ["EMBEDDED=true", f"S3_ENDPOINT={endpoint}", "S3_ACCESS_KEY=theirs", "S3_SECRET_KEY=theirs"]
    file = home / "env"
    file.write_text("".join(f"DARKROOM_{line}\n" for line in lines) + more)
    file.chmod(mode)
    return file


COMMANDS = (("pin", "set", "--folder", "."), ("checkout", "set", "data"), ("status",), ("up",), ("cache",), ("env",))


def refused(darkroom: OnFolders, *told: str, commands: tuple[tuple[str, ...], ...] = COMMANDS[-1:]) -> None:
    """These commands do not go on, and each says why in a line."""
    for words in commands:
        said = darkroom.run(*words)
        assert said.returncode == 1, said.stdout
        assert "Error: HomeNotOurs: " in said.stdout, said.stdout
        assert all(one in said.stdout for one in told), said.stdout
        assert "Traceback" not in said.stdout


def test_an_env_file_of_a_pull_request_is_not_used(darkroom: OnFolders) -> None:
    """The attack: .darkroom/env comes by a merge, and the bytes of the next pin go to its endpoint."""
    planted(darkroom.home, mode=0o644)
    darkroom.merge(".darkroom/env")
    refused(darkroom, "git tracks .darkroom/env", "git rm -r --cached", commands=COMMANDS)


def test_that_a_shell_has_umask_077_makes_a_tracked_file_no_more_ours(darkroom: OnFolders) -> None:
    """git then writes files with mode 0600; and an address of this machine may be another user's."""
    planted(darkroom.home, "http://127.0.0.1:9", mode=0o600)
    darkroom.merge(".darkroom/env")
    refused(darkroom, "git tracks .darkroom/env")


@pytest.mark.parametrize("name", ["credentials.json", "compiled/model.so"])
def test_no_tracked_file_in_home_is_used(darkroom: OnFolders, name: str) -> None:
    (darkroom.home / name).parent.mkdir(parents=True)
    (darkroom.home / name).write_text("{}")
    darkroom.merge(f".darkroom/{name}")
    said = darkroom.run("env")
    assert f"HomeNotOurs: git tracks .darkroom/{name}" in said.stdout


def test_a_home_with_more_tracked_names_than_git_may_print_is_not_used(tmp_path: Path) -> None:
    """280 MB of names in the index; the first one is enough to know."""
    git = ("git", "-C", str(tmp_path))
    subprocess.run([*git, "init", "--quiet"], check=True)
    blob = subprocess.run([*git, "hash-object", "-w", "--stdin"], input=b"", capture_output=True, check=True).stdout.decode()
    deep = "/".join([".darkroom", *["d" * 250] * 15])
    entries = "".join(f"100644 {blob.strip()}\t{deep}/{number}\n" for number in range(75_000))
    subprocess.run([*git, "update-index", "--index-info"], input=entries.encode(), check=True)
    assert tracked_by_git(tmp_path / ".darkroom") == f"{deep}/0"


def test_home_as_a_module_of_the_repository_is_not_used(darkroom: OnFolders) -> None:
    darkroom.home.mkdir(mode=0o700)
    commit = "0123456789abcdef0123456789abcdef01234567"
    darkroom.git("update-index", "--add", "--cacheinfo", f"160000,{commit},.darkroom")
    assert "HomeNotOurs: git tracks .darkroom" in darkroom.run("env").stdout


@pytest.mark.parametrize("link", [".darkroom", "state"])
def test_a_link_that_git_tracks_is_no_home(tmp_path: Path, link: str) -> None:
    """Its author could choose another project's HOME, or a folder of the repository."""
    settings = {} if link == ".darkroom" else {"DARKROOM_HOME": "state/darkroom"}
    darkroom = on_folders(tmp_path, DARKROOM_LAKE_URL="s3://lake", DARKROOM_UPLOADS_URL="s3://uploads", **settings)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (darkroom.repository / link).symlink_to("../elsewhere")
    assert "HomeNotOurs" not in darkroom.run("env").stdout, "a link of the user's own is followed"
    darkroom.merge(link)
    assert "is a link that git tracks, and leads to" in darkroom.run("env").stdout


def test_what_the_repository_configures_does_not_run_when_home_is_looked_at(darkroom: OnFolders) -> None:
    darkroom.home.mkdir(mode=0o700)
    darkroom.git("config", "core.fsmonitor", f"touch {darkroom.root / 'ran'} #")
    darkroom.run("env")
    assert not (darkroom.root / "ran").exists()


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_an_env_file_that_others_may_read_or_write_is_not_used(darkroom: OnFolders, mode: int) -> None:
    planted(darkroom.home, "http://127.0.0.1:9", mode)
    refused(darkroom, f"has mode {mode:04o}", "Delete it: `darkroom up` writes a new one.")


@pytest.mark.parametrize(
    "make",
    [
        lambda file: file.symlink_to("elsewhere"),
        lambda file: os.mkfifo(file, 0o600),
        lambda file: file.mkdir(0o700),
    ],
)
def test_what_is_no_plain_file_is_no_env_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    planted(tmp_path).rename(tmp_path / "elsewhere")
    make(tmp_path / "env")
    with pytest.raises(HomeNotOurs, match="Delete it"):
        env_values(tmp_path / "env")


@pytest.mark.parametrize(
    "line",
    [
        f"S3_ENDPOINT={FOREIGN}", "S3_ENDPOINT=http://127.0.0.1.example.org:1", "S3_ENDPOINT=http://127.0.0.1:1@example.org",
        "S3_ENDPOINT=http://localhost:1", "S3_ENDPOINT=http://[::1]:1", "S3_ENDPOINT=",
        "POSTGRES_URL=postgresql://a:b@example.org:1/darkroom", "POSTGRES_URL=postgresql://a:b@127.0.0.1:1,example.org/darkroom",
        "POSTGRES_URL=postgresql://a:b@127.0.0.1:1/darkroom?host=example.org",
        "POSTGRES_URL=postgresql://a:b@127.0.0.1:1/darkroom?hostaddr=192.0.2.1",
        "POSTGRES_URL=postgresql://a:b@127.0.0.1:1/darkroom?host=%2Ftmp,example.org",
        "POSTGRES_URL=postgresql://a:b@/darkroom?host=%2Ftmp&host=example.org",
        "POSTGRES_URL=postgresql://a:b@example.org@127.0.0.1:1/darkroom", "POSTGRES_URL=sqlite:////tmp/theirs.db",
        "POSTGRES_URL=postgresql://a:b@127.0.0.1:1/darkroom?service=theirs",
        "DAGSTER_POSTGRES_URL=postgresql://a:b@example.org:1/dagster",
        "LAKE_URL=s3://theirs", "UPLOADS_URL=file:///tmp", "MODEL=/tmp/theirs", "ALERT_WEBHOOK=https://example.org", "HOME=/tmp",
    ],
)  # fmt: skip
def test_an_env_file_names_servers_of_this_machine_and_nothing_else(tmp_path: Path, line: str) -> None:
    """So too where it came in an archive, with the right owner and mode."""
    name, _, value = line.partition("=")
    file = planted(tmp_path, "http://127.0.0.1:9", more=f"DARKROOM_{name}={value}\n")
    if value:
        with pytest.raises(HomeNotOurs, match=f"has DARKROOM_{name}, "):
            env_values(file)
    else:
        assert env_values(file)[f"DARKROOM_{name}"] == ""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://darkroom:a-b_c@127.0.0.1:5432/darkroom?require_auth=scram-sha-256",
        "postgresql://darkroom:a-b_c@/darkroom?host=/home/me/.darkroom/sockets&requirepeer=me&require_auth=scram-sha-256",
    ],
)
def test_an_env_file_as_darkroom_writes_it_is_read(tmp_path: Path, url: str) -> None:
    more = f"DARKROOM_POSTGRES_URL={url}\nDARKROOM_DAGSTER_POSTGRES_URL={url}\nDARKROOM_S3_CA_BUNDLE=/before/it/moved.pem\n"
    values = env_values(planted(tmp_path, "https://127.0.0.1:9", more=more))
    assert values["DARKROOM_POSTGRES_URL"] == url
    assert values["DARKROOM_S3_CA_BUNDLE"] == str(tmp_path / "ca-bundle.pem"), "of here, whatever the file says"


def test_what_up_writes_is_read_by_the_next_command(darkroom: OnFolders) -> None:
    darkroom.ran("up")
    try:
        said = darkroom.ran("env")
        assert stat.S_IMODE((darkroom.home / "env").stat().st_mode) == 0o600
    finally:
        darkroom.ran("down")
    assert "DARKROOM_S3_ENDPOINT" in said and "127.0.0.1" in said
    darkroom.git("add", "--all")
    assert darkroom.git("ls-files") == "", "git ignores HOME"


@needs_root
@pytest.mark.parametrize("what", ["home", "env"])
def test_what_another_user_owns_is_not_used(darkroom: OnFolders, what: str) -> None:
    file = planted(darkroom.home, "http://127.0.0.1:9")
    os.chown(darkroom.home if what == "home" else file, STRANGER, STRANGER)
    refused(darkroom, f"belongs to user {STRANGER}")


@needs_root
def test_another_user_reads_nothing_of_a_darkroom_on_sqlite_and_folders(tmp_path: Path) -> None:
    """The attack: HOME was 0755, and the lake, the uploads and all below them as the umask has it. A real second user tries."""
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own folders are for their owner alone, and would hide all of it
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    darkroom = on_folders(tmp_path)
    data = tmp_path / "scans"
    data.mkdir()
    (data / "a.txt").write_bytes(b"a")
    assert stranger_reads(data / "a.txt") == b"a", "the second user can get here at all"
    darkroom.ran("pin", "scans", "--folder", str(data), "--allow-dirty")
    darkroom.ran("checkout", "scans", "data")
    darkroom.ran("import", str(data), "--days", "1")
    files = [path for top in ("lake", "uploads", "database") for path in (tmp_path / top).rglob("*") if path.is_file()]
    files += [path for path in darkroom.home.rglob("*") if path.is_file()]
    assert {"darkroom.db", "dagster.yaml", "checkout.key"} <= {path.name for path in files}
    assert any(path.is_relative_to(tmp_path / "lake") for path in files)
    assert any(path.is_relative_to(tmp_path / "uploads") for path in files)
    readable = {path for path in files if path.stat().st_size and stranger_reads(path) is not None}
    assert readable == set()


def test_a_home_that_was_open_is_closed_at_the_next_command(tmp_path: Path) -> None:
    darkroom = on_folders(tmp_path)
    darkroom.home.mkdir(mode=0o755)
    for mode in (0o755, 0o777, 0o750):
        darkroom.home.chmod(mode)
        darkroom.run("cache")
        assert stat.S_IMODE(darkroom.home.stat().st_mode) == 0o700


@needs_root
def test_where_postgres_passes_through_home_all_else_in_it_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster").mkdir()
    (home / "checkout.key").write_text("secret")
    (home / "postgres").mkdir()
    os.chown(home / "postgres", STRANGER, STRANGER)
    home.chmod(0o711)
    make_home(home)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}
    assert modes == {"home": 0o711, "dagster": 0o700, "checkout.key": 0o600, "postgres": 0o755, ".gitignore": 0o600}


def test_a_folder_of_data_that_is_there_keeps_its_mode_and_up_says_who_may_read_it(tmp_path: Path) -> None:
    darkroom = on_folders(tmp_path)
    (tmp_path / "lake").mkdir(mode=0o755)
    (tmp_path / "uploads").mkdir(mode=0o750)
    said = darkroom.ran("up")
    assert f"Every user of this machine can read {tmp_path / 'lake'}" in said
    assert str(tmp_path / "uploads") not in said
    assert stat.S_IMODE((tmp_path / "lake").stat().st_mode) == 0o755


def test_a_database_that_came_back_from_a_backup_is_closed_to_others(tmp_path: Path) -> None:
    darkroom = on_folders(tmp_path)
    darkroom.ran("up")
    file = tmp_path / "database" / "darkroom.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for before, after in ((0o644, 0o640), (0o666, 0o660), (0o660, 0o660)):
        file.chmod(before)
        darkroom.ran("up")
        assert stat.S_IMODE(file.stat().st_mode) == after
