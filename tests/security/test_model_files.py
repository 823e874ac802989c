"""A model file from a stranger runs no code, ends no process of ours, and takes no more memory than it says."""

import io
import pickle
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from pipeline_assets.classify.archive import load_archive
from pipeline_assets.classify.models import load_classifier
from pipeline_assets.classify.trial_process import width
from pipeline_assets.errors import ModelUnusable
from tests.security.archives import PROGRAM, calling, changed, folder, given, members, packed, renamed, tensor, tiny

pytestmark = pytest.mark.slow

X = given("self", **tensor("x"))


class Bomb:
    """Unpickling it touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def loaded(tmp_path: Path, archive: bytes):
    (tmp_path / "model.pt2").write_bytes(archive)
    return load_archive(tmp_path / "model.pt2")


# Names


@pytest.mark.parametrize(
    ("name", "evil"),
    [
        ("last.weight", "w\", {call})) # "),
        ("last.weight", "w\"); {call}; (\""),
        ("p_last_weight", "p={call}"),
        ("x", "x={call}"),
        ("x", "x\n    {call}\n    y"),
        ("linear", "y = {call}; z"),
        ("dim", "dim=[2, 3]), {call}, print("),
        ("weight", "weight\": {call}, \""),
    ],
)  # fmt: skip
def test_a_name_that_is_python_never_runs(tmp_path, name, evil):
    mark = tmp_path / "owned"
    archive = renamed(tiny(), name, evil.format(call=f"exec(\"open({str(mark)!r}, 'w')\")"))
    assert archive != tiny()
    with pytest.raises(ModelUnusable):
        loaded(tmp_path, archive)
    assert not mark.exists()


def test_a_classifier_whose_weights_name_is_python_is_refused_and_never_runs(tmp_path):
    mark = tmp_path / "owned"
    evil = f'w", exec("open({str(mark)!r}, \'w\')")) # '
    with pytest.raises(ModelUnusable, match="has the name"):
        load_classifier(str(folder(tmp_path / "evil", renamed(tiny(), "last.weight", evil))))
    assert not mark.exists()


def test_a_network_has_no_name_of_its_file_in_what_is_compiled_for_it(tmp_path):
    archive = tiny()
    for name in ("last.weight", "p_last_weight", "mean", "linear", "x"):
        archive = renamed(archive, name, f"theirs_{name}")
    network = loaded(tmp_path, archive)
    assert "theirs" not in network.code
    assert [name for name, _ in network.named_parameters()] == ["weight_0"]
    expected = loaded(tmp_path, tiny())(torch.ones(1, 3, 32, 32))
    for ours, theirs in zip(network(torch.ones(1, 3, 32, 32)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


# Operators


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load", "torch.load", "torch.ops.aten.from_file.default", "_operator.call", "_operator.pow", "os.system",
        "#extension:x", "torch.ops.higher_order.cond", "torch.ops.aten._unsafe_index.Tensor", "torch.ops.aten.as_strided.default",
        "torch.ops.aten.set_.source_Storage_storage_offset", "torch.ops.aten.empty.memory_format", "torch.ops.aten.nonzero.default",
        "torch.ops.aten.item.default", "torch.ops.aten.rand.default", "torch.ops.aten._embedding_bag.default",
        "torch.ops.aten.index_put_.default", "torch.ops.aten.resize_.default", "torch.ops.aten.__init__.default", 3, None,
    ],
)  # fmt: skip
def test_an_operator_that_is_not_on_the_list_is_refused_by_name(tmp_path, target):
    def change(program):
        program["graph_module"]["graph"]["nodes"][1]["target"] = target

    with pytest.raises(
        ModelUnusable, match="the list of operators" if isinstance(target, str) else "where str belongs"
    ) as refused:
        loaded(tmp_path, changed(tiny(), PROGRAM, change))
    assert str(target) in str(refused.value)
    assert "usual layers" in str(refused.value) or not isinstance(target, str)


def test_an_operator_that_crashes_ends_its_trial_alone(tmp_path):
    keys = torch.zeros(2, 3, 0, 32)
    archive = calling(
        "torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default",
        given("query", **tensor("x")),
        given("key", **tensor("k")),
        given("value", **tensor("k")),
        weights={"k": keys},
    )
    archive = changed(
        archive, PROGRAM, lambda p: p["graph_module"]["graph"]["nodes"][0]["outputs"].append({"as_none": True})
    )
    with pytest.raises(ModelUnusable, match=r"ended its trial process, by SIGFPE"):
        load_classifier(str(folder(tmp_path / "crash", archive)))


@pytest.mark.parametrize(
    ("operator", "arguments", "weights"),
    [
        ("index.Tensor", [X, given("indices", as_tensors=[{"name": "i"}])], {"i": torch.tensor([99])}),
        ("embedding.default", [given("weight", **tensor("w")), given("indices", **tensor("i"))],
         {"w": torch.zeros(3, 4), "i": torch.tensor([2**62])}),
        ("select.int", [X, given("dim", as_int=0), given("index", as_int=99)], {}),
        ("group_norm.default", [given("input", **tensor("x")), given("num_groups", as_int=0)], {}),
        ("conv2d.default", [given("input", **tensor("x")), given("weight", **tensor("w")), given("groups", as_int=0)],
         {"w": torch.zeros(3, 3, 1, 1)}),
        ("view.default", [X, given("size", as_ints=[2**62, 2**62])], {}),
    ],
)  # fmt: skip
def test_an_operator_with_impossible_arguments_is_an_error_with_its_reason(tmp_path, operator, arguments, weights):
    (tmp_path / "model.pt2").write_bytes(calling(f"torch.ops.aten.{operator}", *arguments, weights=weights))
    with pytest.raises(ModelUnusable, match="It says"):
        width(tmp_path / "model.pt2", 32, 3)


def test_the_reason_of_a_trial_process_is_that_of_the_refusal(tmp_path):
    archive = calling("torch.ops.aten.select.int", X, given("dim", as_int=0), given("index", as_int=99))
    with pytest.raises(ModelUnusable, match=r"It says: select\(\): index 99 out of range"):
        load_classifier(str(folder(tmp_path / "m", archive)))


@pytest.mark.parametrize(
    ("operator", "arguments", "weights"),
    [
        ("index.Tensor", [X, given("indices", as_tensors=[{"name": "i"}])], {"i": torch.tensor([True, False])}),
        ("div.Tensor_mode", [given("self", **tensor("i")), given("other", **tensor("i")), given("rounding_mode", as_string="trunc")],
         {"i": torch.tensor([1])}),
    ],
    ids=["a mask", "a division"],
)  # fmt: skip
def test_what_is_harmless_on_grey_photos_alone_is_refused(tmp_path, operator, arguments, weights):
    (tmp_path / "model.pt2").write_bytes(calling(f"torch.ops.aten.{operator}", *arguments, weights=weights))
    with pytest.raises(ModelUnusable, match=r"indexes with booleans|divides integers"):
        width(tmp_path / "model.pt2", 32, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        [X, given("size", as_tensor={"name": "x"})],
        [X, given("size", as_tensors=[{"name": "x"}])],
        [X, given("size", as_sym_ints=[{"as_name": "x"}])],
    ],
)
def test_a_size_that_depends_on_what_a_photo_shows_is_refused(tmp_path, arguments):
    with pytest.raises(ModelUnusable):
        loaded(tmp_path, calling("torch.ops.aten.view.default", *arguments))


def test_a_kernel_that_depends_on_how_many_photos_there_are_is_refused(tmp_path):
    stride = given("stride", as_sym_ints=[{"as_name": "batch"}, {"as_int": 1}])
    with pytest.raises(ModelUnusable, match="how many photos"):
        loaded(tmp_path, calling("torch.ops.aten.avg_pool2d.default", X, given("kernel_size", as_ints=[1, 1]), stride))


@pytest.mark.parametrize("argument", [given("p", as_float=0.5), given("dropout_p", as_float=0.5)])
def test_arguments_that_an_operator_does_not_have_are_refused(tmp_path, argument):
    with pytest.raises(ModelUnusable, match="does not have"):
        loaded(tmp_path, calling("torch.ops.aten.relu.default", X, argument))


@pytest.mark.parametrize("text", ["tanh'); exec('1", "__import__('os')", "none\n", "x" * 200])
def test_a_text_that_is_no_mode_is_refused(tmp_path, text):
    with pytest.raises(ModelUnusable, match="has the text"):
        loaded(tmp_path, calling("torch.ops.aten.gelu.default", X, given("approximate", as_string=text)))


@pytest.mark.parametrize(
    "argument",
    [
        {"as_graph": {"name": "g", "graph": {}}}, {"as_custom_obj": {"name": "o", "class_fqn": "os.system"}},
        {"as_operator": "os.system"}, {"as_string_to_argument": {}}, {"as_int": 2**70}, {"as_int": "1"}, {"as_float": "1"},
        {"as_bool": 1}, {"as_ints": [1] * 3_000}, {"as_layout": 1}, {"as_scalar_type": 9}, {}, {"as_int": 1, "as_bool": True}, [],
    ],
)  # fmt: skip
def test_arguments_that_a_plain_network_does_not_need_are_refused(tmp_path, argument):
    with pytest.raises(ModelUnusable):
        loaded(tmp_path, calling("torch.ops.aten.add.Tensor", X, {"name": "other", "arg": argument}))


@pytest.mark.parametrize("expression", ["__import__('os').getcwd()", "(lambda: 1)()", "Symbol('s0', x=exec)"])
def test_shape_expressions_and_guards_are_not_read(tmp_path, expression):
    def walk(node):
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(child)
        if isinstance(node, dict) and "expr_str" in node:
            node["expr_str"] = expression

    def change(program):
        walk(program)
        program["guards_code"] = [expression]

    network = loaded(tmp_path, changed(tiny(), PROGRAM, change))
    assert [tuple(out.shape) for out in network(torch.zeros(4, 3, 32, 32))] == [(4, 3), (4, 3)]


# Training


class Normed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x).mean((2, 3))


class Dropping(Normed):
    def forward(self, x):
        return torch.nn.functional.dropout(x, training=self.training).mean((2, 3))


@pytest.mark.parametrize("kind", [Normed, Dropping])
def test_a_network_that_still_trains_is_refused(tmp_path, kind):
    program = torch.export.export(
        kind().train(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    (tmp_path / "model.pt2").write_bytes(buffer.getvalue())
    with pytest.raises(ModelUnusable, match=r"eval\(\)"):
        width(tmp_path / "model.pt2", 32, 3)


def test_a_network_that_changes_its_weights_is_refused(tmp_path):
    archive = calling(
        "torch.ops.aten.add_.Tensor",
        given("self", **tensor("w")),
        given("other", as_int=1),
        weights={"w": torch.zeros(1, 3)},
    )

    def expand(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        nodes[0]["outputs"] = [tensor("sum")]
        mean = {
            "target": "torch.ops.aten.mean.dim",
            "inputs": [X, given("dim", as_ints=[2, 3])],
            "outputs": [tensor("mean")],
        }
        added = {
            "target": "torch.ops.aten.add.Tensor",
            "inputs": [given("self", **tensor("mean")), given("other", **tensor("sum"))],
            "outputs": [tensor("out")],
        }
        nodes += [mean, added]

    (tmp_path / "model.pt2").write_bytes(changed(archive, PROGRAM, expand))
    with pytest.raises(ModelUnusable, match="changes its own weights"):
        width(tmp_path / "model.pt2", 32, 3)


# Sizes


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_small_archive_does_not_take_gigabytes(tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members(tiny()).items():
            if name != "data/weights/weight_0":
                new.writestr(f"model/{name}", content)
        with new.open("model/data/weights/weight_0", "w", force_zip64=True) as stream:
            for _ in range(1_000):
                stream.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    before = peak_bytes()
    with pytest.raises(ModelUnusable, match="compressed"):
        load_archive(path)
    assert peak_bytes() - before < 100 << 20


def weighted(change) -> bytes:
    return changed(tiny(), "data/weights/model_weights_config.json", change)


def test_many_names_of_one_weight_do_not_multiply_it(tmp_path):
    def change(config):
        config["config"] |= {f"w{n}": config["config"]["last.weight"] for n in range(5_000)}

    with pytest.raises(ModelUnusable, match="16 times its bytes"):
        loaded(tmp_path, weighted(change))


@pytest.mark.parametrize(
    ("sizes", "strides", "offset"),
    [
        ([10**6, 10**6], [0, 0], 0), ([3, 3], [3, 1], 1), ([4, 3], [3, 1], 0), ([3, 3], [1000, 1], 0), ([3, 3], [-3, 1], 6),
        ([-3, -3], [3, 1], 0), ([3, 3], [3, 1], -1), ([3, 3], [3], 0), ([1] * 9, [1] * 9, 0), ([2**50, 0], [1, 1], 0),
    ],
)  # fmt: skip
def test_a_weight_that_is_not_within_its_bytes_is_refused_unread(tmp_path, sizes, strides, offset):
    def change(config):
        config["config"]["last.weight"]["tensor_meta"] |= {
            "sizes": [{"as_int": n} for n in sizes],
            "strides": [{"as_int": n} for n in strides],
            "storage_offset": {"as_int": offset},
        }

    with pytest.raises(ModelUnusable):
        loaded(tmp_path, weighted(change))


def test_no_more_of_a_member_is_read_than_its_tensors_cover(tmp_path):
    parts = members(tiny())
    archive = packed(parts | {"data/weights/weight_0": parts["data/weights/weight_0"] + bytes(300 << 20)})
    (tmp_path / "model.pt2").write_bytes(archive)
    del archive
    before = peak_bytes()
    load_archive(tmp_path / "model.pt2")
    assert peak_bytes() - before < 100 << 20


def test_a_graph_larger_than_any_network_is_refused_unread(tmp_path):
    parts = members(tiny())
    with pytest.raises(ModelUnusable, match="MiB in models/model"):
        loaded(tmp_path, packed(parts | {PROGRAM: parts[PROGRAM] + b" " * (33 << 20)}))


def test_a_graph_of_endless_operators_is_refused(tmp_path):
    def change(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        nodes += [nodes[0] | {"outputs": [tensor(f"n{index}")], "metadata": {}} for index in range(20_000)]

    with pytest.raises(ModelUnusable, match="operators, more than"):
        loaded(tmp_path, changed(tiny(), PROGRAM, change))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"1" * 5_000, b"null", b"{}", b"[]", b"\xff", b'{"graph_module": 1}'])
def test_a_graph_that_is_none_is_refused(tmp_path, content):
    with pytest.raises(ModelUnusable, match=r"where dict belongs|not a torch"):
        loaded(tmp_path, packed(members(tiny()) | {PROGRAM: content}))


def test_a_network_that_eats_the_memory_ends_its_trial_alone(tmp_path):
    archive = calling(
        "torch.ops.aten.full.default", given("size", as_ints=[1 << 17, 1 << 17]), given("fill_value", as_float=1.0)
    )
    before = peak_bytes()
    with pytest.raises(ModelUnusable, match=r"memory|ended the process"):
        load_classifier(str(folder(tmp_path / "m", archive)))
    assert peak_bytes() - before < 200 << 20


# Pickles, and what is no archive


@pytest.mark.parametrize("save", [pickle.dump, torch.save], ids=["a bare pickle", "torch.save"])
def test_a_pickle_that_calls_itself_pt2_is_refused_unread(tmp_path, save):
    mark, buffer = tmp_path / "owned", io.BytesIO()
    save(Bomb(mark), buffer)
    with pytest.raises(ModelUnusable):
        load_classifier(str(folder(tmp_path / "evil", buffer.getvalue())))
    assert not mark.exists()


def test_a_pickle_inside_a_real_archive_never_runs(tmp_path):
    mark, buffer = tmp_path / "owned", io.BytesIO()
    torch.save(((Bomb(mark),), {}), buffer)
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert mark.exists()  # it is live, and torch.export.load would unpickle it just so
    mark.unlink()
    archive = packed(members(tiny()) | {"data/sample_inputs/model.pt": buffer.getvalue()})
    assert load_classifier(str(folder(tmp_path / "m", archive))).embedding_width == 3
    assert not mark.exists()


@pytest.mark.parametrize("says", [True, 1, "yes"])
def test_weights_that_claim_to_be_pickled_are_refused(tmp_path, says):
    def change(config):
        config["config"]["last.weight"]["use_pickle"] = says

    with pytest.raises(ModelUnusable, match="pickles"):
        loaded(tmp_path, weighted(change))


@pytest.mark.parametrize(
    "member",
    [
        "data/aotinductor/model/x.so",
        "data/weights/model.pt",
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "x.py",
    ],
)
def test_members_that_could_run_are_refused(tmp_path, member):
    with pytest.raises(ModelUnusable, match="refused"):
        loaded(tmp_path, packed(members(tiny()) | {member: b"\x80\x04."}))


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x04."], ids=["empty", "two bytes", "text", "pickle"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    with pytest.raises(ModelUnusable, match=r"not a torch\.export archive"):
        loaded(tmp_path, content)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, kept):
    archive = tiny()
    with pytest.raises(ModelUnusable):
        loaded(tmp_path, archive[: int(len(archive) * kept)])
