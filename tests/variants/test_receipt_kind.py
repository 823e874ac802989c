"""Receipts as a kind: the contract, labels that are where the ink is, determinism, what is refused."""

import dataclasses
import io
import json
import subprocess
import sys
import threading
from hashlib import sha256

import av
import numpy as np
import pytest
from PIL import Image

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.variants.kinds import Kind, Made, Parent, Task
from pipeline_assets.variants.receipts import COLUMNS, KIND, TEMPLATES, paper, scene, truth
from pipeline_assets.variants.receipts.layout import Printed
from pipeline_assets.variants.recipes import Recipe, generator, seed_of, variant_id

pytestmark = pytest.mark.slow

SMALL = {"width_px": 48, "height_px": 96, "samples": 2}
PLAIN = {"wrinkle": 0.0, "folds": (0, 0), "curl": 0.0, "light": 1.0, "table": "dark"}


def parent(data):
    return Parent(sha256(data).hexdigest(), data)


def work(recipe, data=TEMPLATES["grocer"], number=0):
    one, recipe = parent(data), KIND.complete(recipe)
    seed = seed_of((one.sha256,), recipe, 1, number)
    return Task(variant_id((one.sha256,), recipe, seed), (one.sha256,), recipe, seed), (one,)


def made(recipe, **how):
    ((_, outcome),) = KIND.make([work(recipe, **how)])
    return outcome


@pytest.fixture(scope="module")
def receipt():
    return made(
        Recipe("render", width_px=256, height_px=512, samples=4, tilt_deg=8.0, wrinkle=0.3, folds=(1, 1), table="dark")
    )


def test_it_keeps_the_contract(receipt):
    kind: Kind = KIND
    assert kind.name == "receipts"
    assert set(receipt.columns) == set(COLUMNS.columns())
    assert KIND.problems(receipt) == [] == KIND.problems(dataclasses.replace(receipt, data=b""))
    assert Image.open(io.BytesIO(receipt.data)).size == (256, 512)
    assert (receipt.media_type, receipt.encoding) == ("image/jpeg", "jpeg, quality 92")
    assert json.loads(receipt.columns["scene_json"])["creases"]["folds"] == 1


def test_quads_are_where_the_ink_is(receipt):
    grey = np.asarray(Image.open(io.BytesIO(receipt.data)).convert("L"), float)
    seen = [line for line in receipt.labels["lines"] if line["visibility"] == 1]
    darker = 0
    for line in seen:
        quad = np.array(line["quad"])
        left, top = np.floor(quad.min(0)).astype(int)
        right, bottom = np.ceil(quad.max(0)).astype(int)
        around = grey[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3]
        darker += grey[top:bottom, left:right].mean() < np.quantile(around, 0.8) - 4
        upper, lower = quad[[0, 1]].mean(0), quad[[3, 2]].mean(0)
        assert lower[1] > upper[1] and quad[1][0] > quad[0][0]
    assert len(seen) > 15 and darker > 0.9 * len(seen)


def test_the_map_of_the_paper_is_told_back():
    rows, columns = np.mgrid[:40, :60] + 0.5
    uv = np.stack([(columns - 10) / 40, (rows - 5) / 30], -1).astype(np.float32)
    uv[(uv < 0).any(-1) | (uv > 1).any(-1)] = np.nan
    uv[:, 35:40] = np.nan  # something lies upon the paper
    lines = [
        Printed("whole", (40, 60, 120, 90)),
        Printed("partly", (220, 60, 380, 90)),
        Printed("hidden", (256, 60, 294, 90)),
    ]
    found = truth.lines_seen(uv, lines, (400, 300), 10.0)
    assert [line["text"] for line in found] == ["whole", "partly"]
    assert np.allclose(found[0]["quad"], [(14, 11), (22, 11), (22, 14), (14, 14)], atol=0.02)
    assert found[0]["visibility"] == 1 and 0.6 < found[1]["visibility"] < 0.85
    assert truth.lines_seen(np.full((9, 9, 2), np.nan, np.float32), lines, (400, 300), 1.0) == []


def test_a_render_is_the_same_on_any_number_of_threads():
    import drjit

    points = paper.creased(2.0, paper.Creases(0.5, 1, 0.3), generator(3))
    view = scene.View(40, 72, 4, 6.0, 20.0, 3.0, 1.0, 0.4, (-1.9, 1.6, 1.8), 0.05)
    sheet, table = generator(4).random((64, 32), np.float32), np.full((8, 8, 3), 0.3, np.float32)
    scene.render(points, sheet, np.ones(3, np.float32), table, view, "scalar", 5)
    before, found = drjit.thread_count(), []
    try:
        for threads in (1, 2, 5):
            drjit.set_thread_count(threads)
            found.append(scene.render(points, sheet, np.ones(3, np.float32), table, view, "scalar", 5))
    finally:
        drjit.set_thread_count(before)
    for other in found[1:]:
        assert np.array_equal(found[0].linear, other.linear)
        assert np.array_equal(found[0].uv, other.uv, equal_nan=True)


def test_a_variant_depends_on_nothing_but_its_task():
    works = [work(Recipe("render", **SMALL), data, n) for data in TEMPLATES.values() for n in range(2)]
    works.append(work(Recipe("render", **SMALL).then(Recipe("png"))))
    together = {task.variant_id: outcome for task, outcome in KIND.make(works)}
    apart = {task.variant_id: outcome for task, outcome in KIND.make(works[::-1])}
    assert together == apart
    assert len({outcome.data for outcome in together.values()}) == len(works)
    assert all(KIND.problems(outcome) == [] for outcome in together.values())


def test_png_loses_nothing_and_says_so():
    outcome = made(Recipe("render", **SMALL).then(Recipe("png")))
    assert (outcome.media_type, outcome.encoding) == ("image/png", "png, lossless")


def test_less_light_is_a_darker_picture():
    def mean(light):
        return np.asarray(Image.open(io.BytesIO(made(Recipe("render", **SMALL, **{**PLAIN, "light": light})).data))).mean()

    assert mean(0.15) < 0.8 * mean(1.0)


def test_children_differ():
    texts = {made(Recipe("render", **SMALL), number=n).columns["fields_json"] for n in range(4)}
    assert len(texts) == 4


@pytest.mark.parametrize("name", KIND.recipes)
def test_ready_made_recipes_are_whole(name):
    recipe = KIND.complete(KIND.recipes[name])
    assert KIND.complete(recipe) == recipe == Recipe.from_json(recipe.json)
    assert tuple(step.name for step in recipe.steps) in {("render", "jpeg"), ("unfold", "mp4")}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("jpeg"),
        Recipe("png").then(Recipe("jpeg")),
        Recipe("render").then(Recipe("render")),
        Recipe("render").then(Recipe("jpeg"), Recipe("png")),
        Recipe("rendering"),
        Recipe("render", width_px=8),
        Recipe("render", width_px=100_000),
        Recipe("render", samples=0),
        Recipe("render", samples=10**6),
        Recipe("render", renderer="cuda"),
        Recipe("render", wrinkle=(0.5, 0.1)),
        Recipe("render", wrinkle=1.5),
        Recipe("render", folds=(2, 0)),
        Recipe("render", folds=(0, 99)),
        Recipe("render", tilt_deg=80.0),
        Recipe("render", light=0.0),
        Recipe("render", table="glass"),
        Recipe("render", weight=1),
        Recipe("render").then(Recipe("jpeg", quality=100)),
        Recipe("render").then(Recipe("mp4")),
        Recipe("unfold").then(Recipe("jpeg")),
        Recipe("unfold", frames=1),
        Recipe("unfold", width_px=250),
    ],
)
def test_recipes_that_make_no_receipt_are_refused(recipe):
    with pytest.raises(BadRecipe):
        KIND.complete(recipe)


def test_a_bad_template_harms_no_neighbour(tmp_path):
    missing = Parent("0" * 64, tmp_path / "gone.json")
    good = work(Recipe("render", **SMALL))
    bad = [work(Recipe("render", **SMALL), data) for data in (b"", b"{}", b"\xff")]
    outcomes = [outcome for _, outcome in KIND.make([bad[0], good, *bad[1:], (good[0], (missing,)), good])]
    assert [type(outcome) for outcome in outcomes] == [UnfitParent, Made, UnfitParent, UnfitParent, UnfitParent, Made]
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, UnfitParent)} == {"undecodable"}


@pytest.mark.parametrize("name", [None, "libLLVM-16.so.1", "libLLVM-15.so", "libLLVM.so.14.0", "libfoo.so"])
def test_an_llvm_that_would_end_the_process_is_not_used(name, tmp_path, monkeypatch):
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    if name:
        (tmp_path / name).touch()
        monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(tmp_path / name))
    outcome = made(Recipe("render", **SMALL, renderer="llvm"))
    assert isinstance(outcome, UnfitParent) and outcome.reason == "no_renderer"


@pytest.mark.parametrize("name", ["libLLVM-17.so.1", "libLLVM-19.so", "libLLVM.so.19.1"])
def test_a_new_llvm_is(name, tmp_path, monkeypatch):
    (tmp_path / name).touch()
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(tmp_path / name))
    assert scene.llvm_reason() == ""


def test_problems_are_told(receipt):
    def told(columns=(), **labels):
        changed = {**receipt.labels, **labels}
        return KIND.problems(dataclasses.replace(receipt, labels=changed, columns={**receipt.columns, **dict(columns)}))

    lines = receipt.labels["lines"]
    assert "within 256 x 512" in told(lines=[{**lines[0], "quad": [[-1, 0], [9, 0], [9, 9], [0, 9]]}, *lines[1:]])[0]
    assert "four points" in told(lines=[{**lines[0], "quad": [[1, 0], [9, 0], [9, 9]]}, *lines[1:]])[0]
    assert "not in (0, 1]" in told(lines=[{**lines[0], "visibility": 1.5}, *lines[1:]])[0]
    assert "no text" in told(lines=[{**lines[0], "text": ""}, *lines[1:]])[0]
    assert "visible_lines" in told(lines=lines[1:])[0]
    assert "fields_json" in told(fields={**receipt.labels["fields"], "total": "0.00"})[0]
    assert "fields are" in told(fields={"total": "1.00"})[0]
    assert told(lines=None) == ["labels are lines and fields"]
    assert "fields_json" in told({"fields_json": "{}"})[0]


def test_a_sheet_for_people(receipt):
    one = parent(TEMPLATES["grocer"])
    task, _ = work(Recipe("render"))
    sheet = Image.open(io.BytesIO(KIND.contact_sheet([(one, [(task, receipt), (task, receipt)])])))
    assert sheet.format == "PNG" and sheet.width > 500
    assert Image.open(io.BytesIO(KIND.contact_sheet([]))).format == "PNG"


def test_definitions_load_without_the_renderer():
    code = "import sys, pipeline_assets.variants.receipts; print([m for m in ('mitsuba', 'scipy', 'torch', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


UNFOLDING = Recipe("unfold", width_px=128, height_px=192, frames=5, folds=(1, 1), tilt_deg=0.0, table="dark")
CUT = 8
"""This one is folded where lines are cut, and none shows above the flap."""


@pytest.fixture(scope="module")
def clip():
    return made(UNFOLDING, number=CUT)


def test_a_clip_goes_from_folded_to_flat(clip):
    frames = [{line["text"]: line for line in frame["lines"]} for frame in clip.labels["frames"]]
    assert len(frames) == 5 and KIND.problems(clip) == []
    assert len(frames[0]) < 0.4 * len(frames[-1])  # the upper half lies on its face and hides the lower one

    def height(lines):
        ys = [y for line in lines.values() for _, y in line["quad"]]
        return max(ys) - min(ys) if ys else 0

    heights = [height(frame) for frame in frames]
    assert heights == sorted(heights) and heights[-1] > 0.6 * 192
    assert all(line["visibility"] > 0.9 for line in frames[-1].values())
    hidden = [frame.get(text, {"visibility": 0})["visibility"] for frame in frames[:2] for text in frames[-1]]
    assert np.mean(np.array(hidden) < 1) > 0.7 and any(0 < share < 1 for share in hidden)


def test_the_last_picture_of_a_clip_is_nearly_the_flat_layout():
    shape = {"width_px": 128, "height_px": 192, "wrinkle": 0.0, "tilt_deg": 0.0, "table": "dark"}
    outcome = made(Recipe("unfold", **shape, frames=2, folds=(2, 2)))
    first, last = ({line["text"]: np.array(line["quad"]) for line in f["lines"]} for f in outcome.labels["frames"])
    view = json.loads(outcome.columns["scene_json"])["view"]
    roll = np.radians(view["roll_deg"])
    upright = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    turned = {text: quad @ upright for text, quad in last.items()}
    tops = [quad[0, 1] for quad in turned.values()]
    heights = [quad[2, 1] - quad[1, 1] for quad in turned.values()]
    assert np.ptp(tops) > 15 * np.median(heights) and min(heights) > 0.5 * np.median(heights)
    assert 0 < len(first) < 0.6 * len(last)  # what is above the upper fold lies on top


def test_a_clip_is_made_again_to_the_byte_and_plays(clip):
    assert made(UNFOLDING, number=CUT) == clip
    assert (clip.media_type, clip.encoding) == ("video/mp4", "h264, crf 20")
    with av.open(io.BytesIO(clip.data), "r") as played:
        pictures = [frame.to_ndarray(format="rgb24") for frame in played.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(192, 128, 3)] * 5
    assert np.abs(pictures[0].astype(float) - pictures[-1]).mean() > 10


def test_a_sheet_shows_pictures_of_a_clip(clip):
    task, _ = work(Recipe("unfold"))
    sheet = Image.open(io.BytesIO(KIND.contact_sheet([(parent(TEMPLATES["grocer"]), [(task, clip)])])))
    cell = np.asarray(sheet.convert("L"), float)[12 : 12 + 384, 12 : 12 + 256]
    quarters = [cell[:192, :128], cell[:192, 128:], cell[192:, :128], cell[192:, 128:]]
    assert all(np.abs(quarters[0] - other).mean() > 3 for other in quarters[2:])


def test_a_pixel_between_two_layers_of_paper_shows_neither():
    rows, columns = np.mgrid[:20, :20] / np.float32(20)
    uv = np.stack([columns, rows * 0.2], -1)
    uv[10:, :, 1] += 0.7
    uv[9, :, 1] = 0.5
    is_whole = scene._is_single_layer(uv)
    assert not is_whole[9].any() and is_whole[1:8, 1:-1].all() and is_whole[11:-1, 1:-1].all()


def test_folded_paper_keeps_its_lengths():
    flat = paper.flat(2.4)
    for folds in (1, 2, 3):
        closed = paper.folded(flat, 2.4, folds, 172)
        assert np.abs(paper.stretch(closed, flat)).max() < 0.12  # chords of what bends
        assert np.quantile(np.abs(paper.stretch(closed, flat)), 0.8) < 1e-3
        assert np.ptp(closed[..., 1]) < 1.2 * 2.4 / (folds + 1)
    assert np.allclose(paper.folded(flat, 2.4, 2, 0), flat, atol=1e-3)


@pytest.mark.skipif(bool(scene.llvm_reason()), reason="no LLVM")
def test_what_was_compiled_for_one_receipt_serves_the_next():
    import drjit
    import mitsuba

    mitsuba.set_variant("llvm_ad_rgb")
    recipe = Recipe("render", **SMALL, renderer="llvm", table="stone")
    made(recipe)
    was = drjit.flag(drjit.JitFlag.KernelHistory)
    drjit.set_flag(drjit.JitFlag.KernelHistory, True)
    try:
        for number in range(1, 6):
            made(recipe, number=number)
        kernels = [kernel for kernel in drjit.kernel_history([drjit.KernelType.JIT]) if kernel["operation_count"] > 300]
    finally:
        drjit.set_flag(drjit.JitFlag.KernelHistory, was)
    assert len(kernels) == 10  # light and maps of each
    assert sum(not kernel["cache_hit"] for kernel in kernels) <= 2


def test_a_render_that_ctrl_c_ends_gives_no_picture():
    """mitsuba itself handles the signal: it cancels the render, whose thread then gets an unfinished picture."""
    import mitsuba as mi

    mi.set_variant("scalar_rgb")
    box = mi.load_dict(mi.cornell_box())
    integrator, ends = box.integrator(), []

    def render():
        try:
            ends.append(scene._rendered(mi, box, integrator, 4096, 1))
        except KeyboardInterrupt as interrupt:
            ends.append(interrupt)

    thread = threading.Thread(target=render)
    thread.start()
    while thread.is_alive():
        integrator.cancel()
        thread.join(0.05)
    assert [type(end) for end in ends] == [KeyboardInterrupt]
