"""What users export, and how: each usual kind of network is loaded, and gives the numbers that it gave before."""

import functools

import pytest
import torch
from torch import nn
from usual_networks import NETWORKS, ConvNeXt, ResNet, ViT

from pipeline_assets.classify.archive import load_archive
from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.classify.models import load_classifier, save_classifier
from pipeline_assets.classify.trial_process import width
from pipeline_assets.errors import ModelUnusable

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec.* is deprecated:FutureWarning"
)  # torch's decompositions, of torch
BATCH = ({0: torch.export.Dim("batch")},)
SIDE = 32


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def exported(network: nn.Module) -> torch.export.ExportedProgram:
    return torch.export.export(network, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=BATCH)


@functools.cache
def program(kind: type[nn.Module]) -> torch.export.ExportedProgram:
    """The network of a kind as `made` makes it each time, exported once."""
    return exported(made(kind))


def assert_same(network: nn.Module, again: nn.Module) -> None:
    for rows in (1, 2, 5):
        photos = torch.randn(rows, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(rows))
        with torch.inference_mode():
            expected = network(photos)
            expected = expected if isinstance(expected, tuple) else (expected,)
            for ours, theirs in zip(again(photos.to(memory_format=torch.channels_last)), expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("is_traced_with_gradients", [True, False])
def test_a_usual_network_gives_the_same_numbers_once_it_is_read_back(tmp_path, kind, is_traced_with_gradients):
    network = made(kind)
    with torch.set_grad_enabled(is_traced_with_gradients):
        torch.export.save(exported(network), tmp_path / "model.pt2")
    assert_same(network, load_archive(tmp_path / "model.pt2"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_usual_network_of_core_operators_gives_the_same_numbers_too(tmp_path, kind):
    torch.export.save(program(kind).run_decompositions(), tmp_path / "model.pt2")
    assert_same(made(kind), load_archive(tmp_path / "model.pt2"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_usual_network_passes_its_trial(tmp_path, kind):
    torch.export.save(program(kind), tmp_path / "model.pt2")
    assert width(tmp_path / "model.pt2", SIDE, 5) == {ResNet: 5, ConvNeXt: 8, ViT: 16}.get(
        kind, 5 if kind.__name__ == "Windows" else 12
    )


@pytest.mark.slow
def test_a_usual_network_is_loaded_within_the_limits_of_its_trial_process(tmp_path):
    save_classifier(tmp_path / "m", program(ViT), tuple("abcde"), Preprocessing(SIDE + 8, SIDE))
    assert load_classifier(str(tmp_path / "m")).embedding_width == 16


def test_a_network_in_half_precision_is_read_back(tmp_path):
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = made(ResNet).bfloat16()

        def forward(self, x):
            return self.net(x.to(torch.bfloat16)).float()

    network = Half().eval()
    torch.export.save(exported(network), tmp_path / "model.pt2")
    assert_same(network, load_archive(tmp_path / "model.pt2"))


def test_layers_that_share_a_weight_share_its_memory(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Linear(3, 3)
            self.third = nn.Linear(3, 3)
            self.third.weight = nn.Parameter(self.first.weight.data.T)

        def forward(self, x):
            return self.third(self.second(self.first(x.mean((2, 3)))))

    network = made(Tied)
    torch.export.save(exported(network), tmp_path / "model.pt2")
    again = load_archive(tmp_path / "model.pt2")
    assert_same(network, again)
    assert len({tensor.untyped_storage().data_ptr() for tensor in again.parameters() if tensor.ndim == 2}) == 1


def test_new_tensors_are_made_where_the_photos_are(tmp_path):
    class Positions(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) + torch.arange(3, device=x.device)

    torch.export.save(exported(Positions()), tmp_path / "model.pt2")
    assert load_archive(tmp_path / "model.pt2")(torch.zeros(2, 3, SIDE, SIDE, device="meta"))[0].device.type == "meta"


def test_a_step_that_has_no_usual_operator_is_refused_with_what_to_do(tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.fft.rfft2(x).abs().mean((2, 3))

    torch.export.save(exported(Odd()), tmp_path / "model.pt2")
    with pytest.raises(
        ModelUnusable, match=r"calls 'torch\.ops\.aten\.fft_rfft2\.default', .* write that step with usual layers"
    ):
        load_archive(tmp_path / "model.pt2")


def test_what_depends_on_strides_is_refused_with_what_to_do(tmp_path):
    class Strided(nn.Module):
        def forward(self, x):
            colour = x.mean((2, 3))
            return colour.as_strided(colour.shape, (3, 1))

    torch.export.save(exported(Strided()), tmp_path / "model.pt2")
    with pytest.raises(ModelUnusable, match=r"as_strided\.default', .* export without run_decompositions"):
        load_archive(tmp_path / "model.pt2")
