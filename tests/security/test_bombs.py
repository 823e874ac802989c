"""Files made to exhaust a decoder cost bounded CPU and memory, and get a verdict. The files are in `bombs.py`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bombs import BOMBS

from pipeline_assets.ingestion.verdicts import VERDICTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process are counted as Linux does"),
]

CPU_LIMIT_S = 20
MEMORY_LIMIT_MIB = 3_000
"""Of address space, beyond which an allocation fails."""
RESIDENT_LIMIT_MIB = 1_600

REFUSED = {
    "pictures": {
        "png of the largest declared size": "too_many_pixels",
        "png one row too large": "too_many_pixels",
        "gif of many frames": "animated",
        "jpeg of 65,500 pixels a side": "too_many_pixels",
        "jpeg of 5,000 scans": "unsupported_format",
        "webp of 16,383 pixels a side": "too_many_pixels",
        "bmp of 2^31 pixels a side": "too_many_pixels",
        "tiff of 2^32 values a tag": "truncated",
        "tiff of 65,535 samples a pixel": "truncated",
        "avif that claims 65,536 pixels a side": "too_many_pixels",
        "heic that claims 65,536 pixels a side": "too_many_pixels",
        "heic that claims to be smaller": "truncated",
        "heic of overlays of overlays": "unsupported_format",
        "heic whose transparency is 25,000 pixels a side": "unsupported_format",
        "heic whose tiles are 64 times its size": "too_many_pixels",
        "jpeg 2000 that claims 65,536 pixels a side": "too_many_pixels",
        "jpeg 2000 of 16,384 components": "unsupported_format",
        "jpeg of 50 scans at the limit of pixels": "unsupported_format",
        "avif that says 100 pixels a side and has 12,000": "too_many_pixels",
        "tiff in one tile of 20,000 pixels a side": "too_many_pixels",
    },
    "clips": {
        "mp4 of 80 million samples": "too_costly",
        "mp4 of 80 million samples without a byte": "too_costly",
        "mp4 of 80 million times": "too_costly",
        "mp4 of 3,000 edits": "too_costly",
        "mp4 of 80 million samples in a fragment": "too_costly",
        "mp4 of 1,000 chunks of 80 million samples": "too_costly",
        "mp4 of packed headers": "too_costly",
        "mp4 of 900 tracks": "undecodable",
        "mp4 of two pictures and two hours": "too_costly",
        "mp4 whose picture is larger than it says": "undecodable",
        "matroska of a packet a byte": "too_costly",
        "matroska of packed zeros": "too_costly",
        "flac of two hours of silence in 350 KB": "too_costly",
    },
}


@pytest.fixture(scope="module", params=list(BOMBS))
def kind(request: pytest.FixtureRequest) -> str:
    """Which bombs."""
    return str(request.param)


@pytest.fixture(scope="module")
def prices(kind: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What each bomb cost each reader, measured one by one in processes of their own."""
    command = [sys.executable, str(Path(__file__).with_name("bombs.py")), kind, str(CPU_LIMIT_S), str(MEMORY_LIMIT_MIB)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {(bomb, reader): price for bomb, reader, price in lines}


def test_every_bomb_gets_a_verdict_within_its_limits(kind: str, prices: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert {bomb for bomb, reader in prices if reader == "inspect"} == set(BOMBS[kind])
    beyond = {
        key: price
        for key, price in prices.items()
        if price["verdict"] not in VERDICTS or price["memory_mib"] > RESIDENT_LIMIT_MIB or price["cpu_s"] > CPU_LIMIT_S
    }
    assert beyond == {}


def test_what_no_encoder_writes_is_refused_without_decoding_it(
    kind: str, prices: dict[tuple[str, str], dict[str, Any]]
) -> None:
    refused = REFUSED[kind]
    assert {bomb: prices[bomb, "inspect"]["verdict"] for bomb in refused} == refused
    assert max(prices[bomb, "inspect"]["memory_mib"] for bomb in refused) < 64
    assert max(prices[bomb, "inspect"]["cpu_s"] for bomb in refused) < 5
