"""What receipts say, how they are printed, and the paper: sums agree, boxes hold the ink, paper hardly stretches."""

import json
import re
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.receipts import TEMPLATES, layout, marks, paper
from pipeline_assets.variants.receipts.templates import MAX_BYTES, shop_of
from pipeline_assets.variants.receipts.text import Item, Sums, money, receipt_of
from pipeline_assets.variants.recipes import generator

SHOPS = {name: shop_of(data) for name, data in TEMPLATES.items()}
named = st.sampled_from(sorted(SHOPS))
seeds = st.integers(0, 2**63 - 1)


def amount(text):
    return int(text.replace(".", ""))


def test_a_sale_worked_by_hand():
    sums = Sums((Item("TEA", 2, 350), Item("BREAD", 1, 300)), 100, 54, True, 1000)
    assert (sums.subtotal, sums.total, sums.change) == (1000, 954, 46)
    included = Sums(sums.items, 100, 51, False, 1000)
    assert (included.total, included.change) == (900, 100)
    assert [money(cents) for cents in (0, 5, 123450)] == ["0.00", "0.05", "1234.50"]


@settings(max_examples=200, deadline=None)
@given(name=named, seed=seeds)
def test_what_is_printed_adds_up(name, seed):
    shop = SHOPS[name]
    receipt = receipt_of(shop, generator(seed))
    cells = [row.cells for row in receipt.rows]
    said = {c[0]: amount(c[1]) for c in cells if len(c) == 2 and re.fullmatch(r"-?\d+\.\d\d", c[1])}
    total, tax = amount(receipt.fields["total"]), next((v for k, v in said.items() if shop.tax_name in k), 0)
    if shop.rows == "two":
        lines = [c for c in cells if len(c) == 4 and c[1].endswith(" x")]
        assert all(int(c[1][:-2]) * amount(c[2]) == amount(c[3]) for c in lines)
        bought = sum(amount(c[3]) for c in lines)
    else:
        bought = sum(amount(c[1]) for c in cells if len(c) == 2 and re.match(r"\d ", c[0]))
    assert bought + said.get("Discount", 0) + (tax if shop.tax == "added" else 0) == total
    assert said["CASH"] - total == said["CHANGE"] >= 0
    net, rate = bought + said.get("Discount", 0), shop.tax_percent / 100
    assert abs(tax - (net * rate if shop.tax == "added" else net * rate / (1 + rate))) <= 0.5


@settings(max_examples=60, deadline=None)
@given(name=named, seed=seeds)
def test_every_field_is_on_the_receipt(name, seed):
    receipt = receipt_of(SHOPS[name], generator(seed))
    cells = [cell for row in receipt.rows for cell in row.cells]
    for field in ("company", "total"):
        assert receipt.fields[field] in cells
    assert any(receipt.fields["date"] in cell for cell in cells)
    assert receipt.fields["address"] in " ".join(cells)
    datetime.strptime(receipt.fields["date"], SHOPS[name].date_format)  # noqa: DTZ007
    assert receipt == receipt_of(SHOPS[name], generator(seed))


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(name=named, seed=seeds)
def test_boxes_lie_on_the_paper_apart_and_hold_ink(name, seed):
    shop = SHOPS[name]
    receipt = receipt_of(shop, generator(seed))
    sheet = layout.printed(receipt, shop.is_mono, generator(seed, "print"))
    again = layout.printed(receipt, shop.is_mono, generator(seed, "print"))
    assert np.array_equal(sheet.paper, again.paper) and sheet.lines == again.lines
    height, width = sheet.paper.shape
    assert width == layout.WIDTH_PX and sheet.paper.min() >= 0 and sheet.paper.max() <= 1
    texts = [
        c.strip() for row in receipt.rows if row.placed in ("centre", "spread", "table") for c in row.cells if c.strip()
    ]
    assert [line.text for line in sheet.lines] == texts
    plain = np.median(sheet.paper)
    for line in sheet.lines:
        left, top, right, bottom = line.box
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert sheet.paper[top:bottom, left:right].min() < plain - 0.15
    boxes = sorted((line.box[1], line.box) for line in sheet.lines)
    for (_, a), (_, b) in pairwise(boxes):
        across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        assert across <= 0 or down <= 5


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    length=st.floats(1.5, 4.0),
    wrinkle=st.floats(0, 1),
    folds=st.integers(0, 4),
    curl=st.floats(0, 0.6),
    seed=seeds,
)
def test_paper_bends_and_hardly_stretches(length, wrinkle, folds, curl, seed):
    points = paper.creased(length, paper.Creases(wrinkle, folds, curl), generator(seed))
    assert np.isfinite(points).all() and points[..., 2].min() == 0
    stretch = np.abs(paper.stretch(points, paper.flat(length)))
    # As ready-made recipes have it; a crumpled sheet gives the most.
    assert np.quantile(stretch, 0.95) < (0.08 if wrinkle < 0.5 and folds < 4 else 0.2)
    assert np.median(stretch) < 0.05
    assert np.array_equal(points, paper.creased(length, paper.Creases(wrinkle, folds, curl), generator(seed)))


def test_flat_paper_is_flat_and_treated_paper_is_not():
    flat = paper.creased(2.0, paper.Creases(0, 0, 0), generator(1))
    assert np.allclose(flat, paper.flat(2.0))
    heights = [np.ptp(paper.creased(2.0, c, generator(1))[..., 2]) for c in (paper.Creases(1, 0, 0), paper.Creases(0, 2, 0))]
    assert min(heights) > 0.03


def _with(**changed):
    return json.dumps({**json.loads(TEMPLATES["cafe"]), **changed}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"companies": ["A"]}',
        _with(items=[]),
        _with(items=[["TEA", 500, 100]]),
        _with(items=[["TEA", -1, 100]]),
        _with(items=[["TEA", 100]]),
        _with(companies=[]),
        _with(tax_percent=-6),
        _with(tax_percent="NaN"),
        _with(tax="maybe"),
        _with(rule="="),
        _with(unknown=1),
    ],
)
def test_what_is_no_template_says_so(data):
    with pytest.raises(UnfitParent) as raised:
        shop_of(data)
    assert raised.value.reason == "undecodable"


def test_a_template_is_bounded():
    with pytest.raises(UnfitParent) as raised:
        shop_of(b" " * (MAX_BYTES + 1))
    assert raised.value.reason == "too_large"


def test_marks_darken_paper_here_and_there():
    paper_ = np.full((900, 576), 0.9, np.float32)
    assert np.array_equal(marks.marked(paper_, 0.0, generator(1)), paper_)
    many = [marks.marked(paper_, 1.0, generator(seed)) for seed in range(6)]
    changed = [float((one < 0.8).mean()) for one in many]
    assert 0 < np.mean(changed) < 0.05 and max(one.max() for one in many) <= np.float32(0.9)
    assert np.array_equal(many[0], marks.marked(paper_, 1.0, generator(0)))
