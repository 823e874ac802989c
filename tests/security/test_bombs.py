"""Files made to exhaust a decoder cost bounded CPU and memory, and get a verdict. The files are in `bombs.py`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bombs import BOMBS

from pipeline_assets.ingestion.schemas import VERDICTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process are counted as Linux does"),
]

CPU_LIMIT_S = 20
MEMORY_LIMIT_MIB = 3_000
"""Of address space, beyond which an allocation fails."""
RESIDENT_LIMIT_MIB = 1_600

REFUSED = {
    "png of the largest declared size": "too_many_pixels",
    "png one row too large": "too_many_pixels",
    "gif of many frames": "animated",
    "jpeg of 65,500 pixels a side": "too_many_pixels",
    "jpeg of 5,000 scans": "unsupported_format",
    "webp of 16,383 pixels a side": "too_many_pixels",
    "bmp of 2^31 pixels a side": "too_many_pixels",
    "tiff of 2^32 values a tag": "truncated",
    "tiff of 65,535 samples a pixel": "truncated",
    "avif that claims 65,536 pixels a side": "truncated",
}


@pytest.fixture(scope="module")
def prices() -> dict[tuple[str, str], dict[str, Any]]:
    """What each bomb cost each reader, measured one by one in processes of their own."""
    command = [sys.executable, str(Path(__file__).with_name("bombs.py")), str(CPU_LIMIT_S), str(MEMORY_LIMIT_MIB)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {(bomb, reader): price for bomb, reader, price in lines}


def test_every_bomb_gets_a_verdict_within_its_limits(prices: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert {bomb for bomb, reader in prices if reader == "inspect"} == set(BOMBS)
    beyond = {
        key: price
        for key, price in prices.items()
        if price["verdict"] not in VERDICTS or price["memory_mib"] > RESIDENT_LIMIT_MIB or price["cpu_s"] > CPU_LIMIT_S
    }
    assert beyond == {}


def test_what_can_not_be_a_photo_is_refused_without_decoding_it(prices: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert {bomb: prices[bomb, "inspect"]["verdict"] for bomb in REFUSED} == REFUSED
    assert max(prices[bomb, "inspect"]["memory_mib"] for bomb in REFUSED) < 64
