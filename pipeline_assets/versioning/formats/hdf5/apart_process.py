"""The process of `apart.py`: `python -m ...apart_process SOCKET CPU_SECONDS`. It reads the files that are named to it.

A message is a line of JSON, after which a frame follows as Arrow IPC if it says its number of bytes.
"""

import io
import json
import math
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.versioning.formats.hdf5 import reading
from pipeline_assets.versioning.formats.hdf5.apart import END
from pipeline_assets.versioning.formats.incoming import Rejected


def main(stream: Any, cpu_s: int) -> None:
    """Answer until the other side has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command that asks is interrupted, too, and ends this one
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _say(stream, {"ready": True})
    for line in stream:
        for item in _limited(reading.frames(Path(json.loads(line))), cpu_s):
            if isinstance(item, Rejected):
                _say(stream, {"rejected": asdict(item)})
            else:
                packed = io.BytesIO()
                item.write_ipc(packed)
                _say(stream, {"bytes": len(packed.getvalue())}, packed.getvalue())
        _say(stream, END)


def _limited(items: Iterator[pl.DataFrame | Rejected], cpu_s: int) -> Iterator[pl.DataFrame | Rejected]:
    """The same items. The kernel ends this process if one takes longer."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    while True:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(usage.ru_utime + usage.ru_stime + cpu_s)
        resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        if (item := next(items, None)) is None:
            return
        yield item


def _say(stream: Any, head: dict[str, Any], data: bytes = b"") -> None:
    stream.write(json.dumps(head).encode() + b"\n" + data)
    stream.flush()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as other_side, other_side.makefile("rwb") as stream:
        try:
            main(stream, int(sys.argv[2]))
        except ConnectionError:
            """The other side has gone."""
