"""JSON and YAML of strangers, nested nearly as deep as a decoder can go, or made to grow: the part that has it fails alone.

Python decodes a nesting of 990 and then fails to encode it, or to print it in a message. Depths are tried one by one, since
which of them does harm depends on how deep the caller's stack is.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.errors import ImportRefused, ModelUnusable, UnfitParent
from pipeline_assets.ingestion.logs.events import parse_log
from pipeline_assets.labeling import label_json
from pipeline_assets.runtime import strict_json
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.dvc import dvc_files
from pipeline_assets.versioning.formats.dvc.dvc_files import Output
from pipeline_assets.versioning.formats.incoming import Reading, Rejected
from sensors.queue_messages import read_message

DAY = date(2026, 1, 1)
REQUIRED = '"event_id":"a","user_id":1,"kind":"view","at":"2026-01-01T00:00:00Z","arrived_at":"2026-01-01T00:00:01Z"'
DEPTHS = (65, 300, *range(850, 1000, 3), 1500, 20_000)
WRAPS: dict[str, Callable[[int], str]] = {
    "lists": lambda depth: "[" * depth + "]" * depth,
    "objects": lambda depth: '{"a":' * depth + "1" + "}" * depth,
    "mixed": lambda depth: '[{"[[":' * (depth // 2) + '"\\"]]\\\\"' + "}]" * (depth // 2),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_log_line_of_any_depth_costs_itself_alone(wrap: str) -> None:
    deep = [WRAPS[wrap](depth) for depth in DEPTHS if depth < 5_000]
    lines = [f"{{{REQUIRED}}}"]
    lines += [f'{{{REQUIRED},"x":{value}}}' for value in deep]
    lines += [f"{{{REQUIRED.replace(chr(34) + 'a' + chr(34), value, 1)}}}" for value in deep]
    parsed = parse_log("\n".join(lines).encode(), "events/2026-01-01/x", DAY)
    assert (parsed.events.height, parsed.rejected.height) == (1, 2 * len(deep))
    assert set(parsed.rejected["reason"]) == {"bad_json"}


def test_what_a_log_line_may_hold_stays_as_it_was() -> None:
    extra = {"x": json.loads(WRAPS["mixed"](60)), "n": 12345678901234567890123456789, "text": 'a "[[[[" \\ \\" b' * 100}
    line = f"{{{REQUIRED},{json.dumps(extra)[1:-1]}}}"
    parsed = parse_log(line.encode(), "events/2026-01-01/x", DAY)
    assert json.loads(parsed.events["extra_json"].item()) == extra


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_queue_message_of_any_depth_is_a_problem_with_a_sentence(wrap: str) -> None:
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": 0}, "object": {}}}
    for depth in DEPTHS:
        body = json.dumps({"Records": [record]}).replace('"name": 0', f'"name": {WRAPS[wrap](depth)}')
        assert read_message(body, "uploads").problems == ("the message is nested too deeply",)


@pytest.mark.parametrize("wrap", WRAPS)
def test_labels_of_any_depth_are_unfit(wrap: str) -> None:
    for depth in DEPTHS:
        with pytest.raises(UnfitParent, match="nested"):
            label_json.parse(f'{{"x": {WRAPS[wrap](depth)}}}')


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("place", ["image", "file_name", "id", "annotation", "category"])
def test_a_coco_json_of_any_depth_is_refused_with_a_sentence(tmp_path: Path, wrap: str, place: str) -> None:
    for depth in DEPTHS:
        parts: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
        where = {"image": "images", "file_name": "images", "id": "annotations", "annotation": "annotations"}
        inner: Any = {place: 0} if place in ("file_name", "id") else 0
        parts[where.get(place, "categories")] = [inner]
        text = json.dumps(parts).replace("0", WRAPS[wrap](depth))
        (tmp_path / "annotations.json").write_text(text)
        with pytest.raises(ImportRefused, match="nested"):
            list(FORMATS["coco"].load().batches(tmp_path, Reading()))


def test_a_coco_annotation_that_is_deep_costs_itself_alone(tmp_path: Path) -> None:
    parts = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 2, "image_id": 1, "x": "X"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(parts).replace('"X"', WRAPS["lists"](50)))
    (tmp_path / "a.jpg").write_bytes(b"x")
    found = list(FORMATS["coco"].load().batches(tmp_path, Reading()))
    assert [one.reason for one in found if isinstance(one, Rejected)] == ["bad_annotation"]
    assert len(found) == 2


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("place", ["relpath", "md5"])
def test_a_listing_of_dvc_of_any_depth_is_refused_with_a_sentence(wrap: str, place: str) -> None:
    output = Output("a", "0" * 32, None, True, False, "a.dvc")
    for depth in DEPTHS:
        entry = json.dumps({"relpath": "a", "md5": "0" * 32, place: 0}).replace(" 0", WRAPS[wrap](depth))
        with pytest.raises(ImportRefused):
            dvc_files.entries(f"[{entry}]".encode(), output)


def test_the_preprocessing_of_somebodys_model_is_read_or_refused() -> None:
    deep = [f'{{"mean": {wrap(depth)}}}' for wrap in WRAPS.values() for depth in DEPTHS]
    for text in ('{"crop_px": 1e999}', *deep):
        with pytest.raises(ModelUnusable):
            Preprocessing.from_json(text)


def laughs(value: str, levels: int = 9) -> str:
    """YAML of some hundred bytes whose aliases stand for ten times more on each level."""
    lines = [f"l0: &l0 {value}"] + [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


MERGES = "m0: &m0 {a: 1, b: 2}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 9))
CHAIN = "c0: &c0 [x]\n" + "".join(f"c{n}: &c{n} [*c{n - 1}]\n" for n in range(1, 990))
CIRCLE = "c: &c [*c]\n"
YAML = {
    "size": laughs("x") + "outs: [{md5: ffffffffffffffffffffffffffffffff, path: a, hash: md5, size: *l9}]",
    "path": laughs("x") + "outs: [{md5: ffffffffffffffffffffffffffffffff, path: *l9}]",
    "wdir": laughs("x") + "outs: []\nwdir: *l9",
    "merges": MERGES + "outs: []",
    "chain": CHAIN + "outs: [{md5: ffffffffffffffffffffffffffffffff, path: *c989}]",
    "circle": CIRCLE + "outs: [{md5: ffffffffffffffffffffffffffffffff, path: *c}]",
    "deep": "outs: " + "[" * 300 + "]" * 300,
}
READ_IN_LITTLE = """
import resource, sys
from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.formats.dvc import dvc_files
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 21))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = sys.stdin.buffer.read()
for read in (lambda: dvc_files.outputs(data, "a.dvc"), lambda: dvc_files.locked(data, None, "dvc.lock"),
             lambda: dvc_files.locked(b"stages: {a: {outs: []}}", data, "dvc.lock")):
    try:
        print(read())
    except ImportRefused as refused:
        print(str(refused)[:300])
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", YAML)
def test_yaml_whose_aliases_make_far_more_of_it_is_refused(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_IN_LITTLE], input=YAML[name].encode(), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stdout.count(b"aliases repeat too much") == 3


def test_aliases_and_merges_as_people_use_them_are_read() -> None:
    text = "base: &base {wdir: deep, deps: [a]}\nstages:\n" + "".join(f"  s{n}: {{<<: *base, cmd: x}}\n" for n in range(50))
    lock = "schema: '2.0'\nstages:\n" + "".join(
        f"  s{n}: {{outs: [{{path: f{n}, md5: {n:f>32x}, size: 1, hash: md5}}]}}\n" for n in range(50)
    )
    found, left_out = dvc_files.locked(lock.encode(), text.encode(), "dvc.lock")
    assert [one.path for one in found] == [f"deep/f{n}" for n in range(50)]
    assert left_out == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab"\\[]{}'), inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth_of, parts), default=0)


@given(json_values, st.booleans())
def test_the_depth_of_a_text_is_that_of_its_value(value: Any, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    depth = depth_of(value)
    assert strict_json.loads(text, depth) == value
    for read in (text, text.encode("utf-8", "surrogatepass")):
        strict_json.require_depth(read, depth)
        if depth:
            with pytest.raises(strict_json.TooDeep):
                strict_json.require_depth(read, depth - 1)


@given(st.text(alphabet='[]{}",:\\a1 ', max_size=60))
def test_no_text_is_decoded_deeper_than_it_is_allowed(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        return
    with pytest.raises(strict_json.TooDeep) if depth_of(value) > 2 else pytest.MonkeyPatch.context():
        strict_json.require_depth(text, 2)


@pytest.mark.parametrize(
    "data", [b'{"a": "\\ud800"', b"\xff\xfe[\x00", b"\x00[", b"\xef\xbb\xbf[", "[≛".encode("utf-16"), b"nul", b""]
)
def test_bytes_that_are_no_utf_8_json_are_refused(data: bytes) -> None:
    for read in (strict_json.loads, lambda text: strict_json.loads_leniently(text, int)):
        with pytest.raises(strict_json.BadJson):
            read(data)
