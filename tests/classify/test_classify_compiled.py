import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline_assets.classify.compiled import compiled_or_eager
from pipeline_assets.classify.models import Classifier, load_classifier
from pipeline_assets.classify.runners import CPU_ROWS
from tests.security import archives


def prepared(classifier: Classifier, folder, eager=None):
    forward = eager or classifier.module
    return compiled_or_eager(classifier, forward, folder, rows=CPU_ROWS, dtype=torch.float32, runners=2)


class Unexportable(torch.nn.Module):
    """Its path depends on its input's values, which no export can follow."""

    def forward(self, x):
        if np.asarray(x.detach()).sum() > 0:
            return x.mean((2, 3)), x.mean((2, 3))
        return -x.mean((2, 3)), x.mean((2, 3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's compiler, of torch's own parts
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_network_is_compiled_once_judged_and_gives_the_same_numbers(tmp_path):
    # The weights have a name that is no Python: what is compiled has our names.
    archive = archives.renamed(archives.tiny(), "last.weight", "theirs.weight")
    tiny = load_classifier(str(archives.folder(tmp_path / "theirs", archive)))
    x = torch.rand(CPU_ROWS, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    cache = tmp_path / "cache"
    prepared(tiny, cache)
    (verdict,) = cache.glob("*.json")
    (artefact,) = cache.glob("*.pt2")
    found = json.loads(verdict.read_text())
    assert found["use_compiled"] == (found["compiled_s"] <= 0.95 * found["eager_s"])
    assert sorted(path.name for path in cache.iterdir()) == sorted([verdict.name, artefact.name])

    verdict.write_text('{"use_compiled": true}')
    made_ns = artefact.stat().st_mtime_ns
    forward = prepared(tiny, cache)
    assert forward is not tiny.module
    for ours, theirs in zip(forward(x), tiny.module(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert artefact.stat().st_mtime_ns == made_ns

    artefact.write_bytes(b"damaged")
    with pytest.warns(RuntimeWarning, match="delete it"):
        assert prepared(tiny, cache) is tiny.module


def test_a_network_that_can_not_be_compiled_runs_eagerly_and_says_so_once(tiny, tmp_path, recwarn):
    stubborn = replace(tiny, module=Unexportable())
    with pytest.warns(RuntimeWarning, match="can't be compiled"):
        assert prepared(stubborn, tmp_path) is stubborn.module
    recwarn.clear()
    assert prepared(stubborn, tmp_path) is stubborn.module
    assert not recwarn.list


def test_the_verdict_is_kept_apart_for_each_model(tiny, tmp_path):
    first, second = (replace(tiny, module=Unexportable(), model_id=name) for name in ("a", "b"))
    for classifier in (first, second):
        with pytest.warns(RuntimeWarning, match="can't be compiled"):
            prepared(classifier, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2
