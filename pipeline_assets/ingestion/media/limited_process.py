"""The process in which `limited` has a file inspected: `python -m ...limited_process SOCKET TURN_FILE`.

It answers one file after the other, each under limits of its own. Beyond the limit of memory an allocation fails, which the
decoder reports as it can; beyond the limit of CPU time the kernel ends the process.
"""

import json
import math
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from PIL import AvifImagePlugin

from pipeline_assets.errors import BadUpload
from pipeline_assets.ingestion.media.containers import read_container
from pipeline_assets.ingestion.media.inspection import DEFAULT_LIMITS, inspect
from pipeline_assets.ingestion.media.limited import READY, received
from pipeline_assets.ingestion.media.media_types import sniff
from pipeline_assets.runtime import decode_turns
from pipeline_assets.runtime.blobs import head_of, size_of

BYTES_PER_PIXEL = 24
PICTURE_BYTES = 256 * 2**20
SOUND_BYTES = 384 * 2**20
VIDEO_BYTES = 1_024 * 2**20
CPU_S = 30.0
CPU_S_PER_MEGAPIXEL = 0.5
CPU_S_PER_MEGABYTE = 2.0
"""Of what ten times slower a machine would need."""
_THREADS = 2
_THREAD_BYTES = 128 * 2**20
"""Of address space that a thread takes without using it."""


def main(connection: socket.socket) -> None:
    """Answer until the other side has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run that asks is interrupted too, and ends this one
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    AvifImagePlugin.DEFAULT_MAX_THREADS = _THREADS
    limit(b"", "")  # what can't be limited here says so before any file is judged
    connection.sendall(READY)
    while True:
        try:
            length, files, _, _ = socket.recv_fds(connection, 4, 1)
            if not length:
                return
            length += received(connection, 4 - len(length))
            request = json.loads(received(connection, int.from_bytes(length, "big")))
            data: bytes | Path = received(connection, request["bytes"]) if not files else Path(f"/dev/fd/{files[0]}")
            answer = _answer(data, request["name"])
            connection.sendall(len(answer).to_bytes(4, "big") + answer)
            for file in files:
                os.close(file)
        except (EOFError, ConnectionError):
            return


def _answer(data: bytes | Path, name: str) -> bytes:
    limit(data, sniff(head_of(data)))
    facts = vars(inspect(data, name))
    return json.dumps(facts | {"taken_at": facts["taken_at"].isoformat() if facts["taken_at"] else None}).encode()


def limit(data: bytes | Path, media_type: str) -> None:
    """Set what a file may take beside what this process has. Memory is limited on Linux alone."""
    pixels = _pixels(data, media_type)
    room = {"audio": SOUND_BYTES, "video": VIDEO_BYTES}.get(media_type.split("/")[0], PICTURE_BYTES)
    room += BYTES_PER_PIXEL * pixels + size_of(data) * isinstance(data, bytes)
    pages = [int(number) for number in Path("/proc/self/statm").read_text().split()] if sys.platform == "linux" else []
    if pages:
        page = resource.getpagesize()
        _set(resource.RLIMIT_DATA, pages[5] * page + room)
        _set(resource.RLIMIT_AS, pages[0] * page + room + _THREADS * _THREAD_BYTES)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = CPU_S + CPU_S_PER_MEGAPIXEL * pixels / 1e6 + CPU_S_PER_MEGABYTE * size_of(data) / 1e6
    _set(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + cpu_s))


def _set(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _pixels(data: bytes | Path, media_type: str) -> int:
    """What is decoded of a picture, by its headers; 0 for what is none, or will be refused by them."""
    if not media_type.startswith("image/") or not isinstance(data, bytes):
        return 0
    try:
        still = read_container(data, media_type)
    except BadUpload:
        return 0
    declared = still.size[0] * still.size[1] if still.size else 0
    return min(max(still.coded_px, declared), 2 * DEFAULT_LIMITS.max_pixels)


if __name__ == "__main__":
    decode_turns.share_turns(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as other_side:
        main(other_side)
