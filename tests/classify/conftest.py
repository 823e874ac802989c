"""Classifiers that the tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_network import TINY_PREPROCESSING, export_tiny

from pipeline_assets.classify.models import Classifier, load_classifier, save_classifier


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> Iterator[None]:
    """Two threads a layer crawl where other test processes hold the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    save_classifier(folder, export_tiny(), ("red", "green", "blue"), TINY_PREPROCESSING)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> Classifier:
    return load_classifier(str(tiny_folder))


@pytest.fixture(scope="session")
def built_in() -> Classifier:
    return load_classifier()
