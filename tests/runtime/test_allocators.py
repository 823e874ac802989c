import platform
import subprocess
import sys

from pipeline_assets.runtime.allocators import keep_freed_memory

ASKED = """
from pipeline_assets.runtime.allocators import give_freed_memory_back
is_told = give_freed_memory_back()
import pyarrow
print(pyarrow.default_memory_pool().backend_name, is_told)
"""
IS_GLIBC = platform.libc_ver()[0] == "glibc"


def test_arrow_takes_memory_where_it_goes_back_to_the_system() -> None:
    told = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["system", str(IS_GLIBC)]


def test_glibc_takes_the_settings_as_often_as_asked() -> None:
    assert [keep_freed_memory(), keep_freed_memory()] == [IS_GLIBC, IS_GLIBC]
