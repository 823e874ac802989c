"""The `darkroom` command starts quickly: its modules import what they need when they need it."""

import subprocess
import sys

HEAVY = {
    "dagster",
    "dataframely",
    "deltalake",
    "numpy",
    "pandas",
    "polars",
    "psycopg2",
    "pyarrow",
    "scipy",
    "sqlalchemy",
    "torch",
}


def test_the_commands_load_without_what_a_run_needs() -> None:
    code = "import sys, pipeline_assets.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
