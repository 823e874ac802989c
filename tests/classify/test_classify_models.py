import pytest
import torch
from tiny_network import TINY_PREPROCESSING, export_tiny

from pipeline_assets.classify.fusion import FusedConvolution, fuse
from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.classify.models import load_classifier, save_classifier
from pipeline_assets.errors import ModelUnusable

needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no convolutions in bfloat16"
)


def test_the_built_in_network_gives_logits_and_pooled_features(built_in):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, embedding = built_in.module(x)
        whole = built_in.module.net(x)
    assert logits.shape == (2, 1000)
    assert embedding.shape == (2, 1280) and built_in.embedding_width == 1280
    torch.testing.assert_close(logits, whole, rtol=0, atol=1e-4)
    assert not built_in.module.training and not any(p.requires_grad for p in built_in.module.parameters())


def test_fusing_changes_no_logit_by_more_than_rounding_and_not_the_original(built_in):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    before = {name: value.clone() for name, value in built_in.module.state_dict().items()}
    fused = fuse(built_in.module)
    with torch.inference_mode():
        for ours, theirs in zip(fused(x), built_in.module(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in built_in.module.state_dict().items())


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, (1, 1, 1, 1), 8), (2, (0, 1, 0, 1), 8), (1, (0, 0, 0, 0), 1)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 0.1, marks=needs_bfloat16)]
)
def test_a_fused_convolution_is_padding_convolution_and_relu6_in_either_precision(stride, padding, groups, dtype, tolerance):
    generator = torch.Generator().manual_seed(3)
    plain = torch.nn.Conv2d(8, 8, 3, stride, groups=groups)
    plain.weight.data = torch.randn(plain.weight.shape, generator=generator)
    plain.bias.data = torch.randn(8, generator=generator)
    plain.static_padding = torch.nn.ZeroPad2d(padding)
    x = torch.randn(2, 8, 9, 9, generator=generator)
    expected = torch.nn.functional.relu6(plain(plain.static_padding(x)))
    with torch.inference_mode():
        fused = FusedConvolution(plain, has_relu6=True, dtype=dtype)
        made = fused(x.to(dtype))
        assert made.dtype == dtype
        torch.testing.assert_close(made.float(), expected, rtol=0, atol=tolerance)
        assert fused.pack(rows=4, side=9) == expected.shape[-1]
        torch.testing.assert_close(fused(x.to(dtype)).float(), expected, rtol=0, atol=tolerance)


@needs_bfloat16
def test_the_fused_network_in_bfloat16_keeps_the_probabilities_of_a_photo(built_in):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        exact, rounded = built_in.module(x)[0].softmax(1), fuse(built_in.module, torch.bfloat16)(x)[0].softmax(1)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


@pytest.mark.slow
def test_a_users_network_is_not_fused(tiny):
    assert fuse(tiny.module) is None


def test_a_users_network_comes_back_from_its_folder(tiny):
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.5, 0.75], [0.0, 0.0, 1.0]])
    logits, embedding = tiny.module(colours[:, :, None, None].expand(3, 3, 32, 32))
    torch.testing.assert_close(logits, 2 * colours)
    torch.testing.assert_close(embedding, colours)
    assert tiny.classes == ("red", "green", "blue")
    assert tiny.preprocessing == TINY_PREPROCESSING
    assert tiny.embedding_width == 3
    assert tiny.model_id.startswith("tiny-")


@pytest.mark.slow
def test_a_network_of_logits_alone_has_them_as_embedding(tmp_path):
    save_classifier(tmp_path / "m", export_tiny(has_embedding=False), ("a", "b", "c"), TINY_PREPROCESSING)
    logits, embedding = load_classifier(str(tmp_path / "m")).module(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(logits, embedding)


@pytest.mark.slow
def test_a_network_whose_classes_are_counted_wrong_is_refused(tiny_folder):
    (tiny_folder / "classes.csv").write_text("index,name\n0,red\n1,green\n")
    with pytest.raises(ModelUnusable, match="names 2 classes"):
        load_classifier(str(tiny_folder))


@pytest.mark.slow
def test_a_network_of_another_input_size_is_refused(tmp_path):
    save_classifier(tmp_path / "m", export_tiny(), ("a", "b", "c"), Preprocessing(40, 30))
    with pytest.raises(ModelUnusable, match="crop_px"):
        load_classifier(str(tmp_path / "m"))
