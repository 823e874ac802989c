import subprocess
import sys

ASKED = """
from pipeline_assets.allocators import give_freed_memory_back
give_freed_memory_back()
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""


def test_arrow_takes_memory_where_it_goes_back_to_the_system() -> None:
    told = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "system"
