"""Classifiers that the tests share."""

import shutil
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


@pytest.fixture(scope="session")
def saved_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    save_classifier(folder, export_tiny(), ("red", "green", "blue"), TINY_PREPROCESSING)
    return folder


@pytest.fixture
def tiny_folder(saved_tiny: Path, tmp_path: Path) -> Path:
    """The files of the tiny classifier, for a test to change."""
    return shutil.copytree(saved_tiny, tmp_path / "tiny")


@pytest.fixture(scope="session")
def tiny(saved_tiny: Path) -> Classifier:
    """Loaded once: each load runs the network in a trial process, which imports torch. No test changes it."""
    return load_classifier(str(saved_tiny))


@pytest.fixture(scope="session")
def built_in() -> Classifier:
    return load_classifier()
