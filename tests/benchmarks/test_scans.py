"""Real scans beside renders: companies, cutting without truth, and boxes that find their partners."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.line_finder import example, matched
from benchmarks.scans import Scan, inked, normalised, read, split
from benchmarks.variants_receipts import MARGIN, grown


@pytest.mark.parametrize(
    "names",
    [
        ("MR. D.I.Y. (M) SDN BHD", "MR. D.I.Y. SDN BHD", "Mr D.I.Y (KUCHAI) Sdn. Bhd."),
        ("99 SPEED MART S/B", "99 Speed Mart Sdn Bhd (519537-X)"),
        ("GOLDEN ARCHES RESTAURANTS SDN BHD", "GERBANG ALAF RESTAURANTS SDN BHD"),
        ("SEGI CASH & CARRY SDN. BHD.", "Segi Cash & Carry"),
    ],
)
def test_branches_are_one_company(names):
    assert len({normalised(name) for name in names}) == 1


def test_companies_stay_apart():
    names = ["RESTORAN WAN SHENG", "B & BEST RESTAURANT", "CARREFOUR RESTAURANT", "THE COMPANY SDN BHD", "SHOP"]
    assert len({normalised(name) for name in names}) == 5 and all(normalised(name) for name in names)


def test_no_company_is_learnt_from_and_tested_on():
    blank = np.zeros((1, 1), np.float32), np.zeros((0, 4, 2))
    scans = [Scan(*blank, f"company {n % 9}") for n in range(40)]
    for seed in range(5):
        learnt, held_out = split(scans, seed)
        assert len(learnt) + len(held_out) == 40 and learnt and held_out
        assert not {scan.company for scan in learnt} & {scan.company for scan in held_out}
    assert {scan.company for scan in split(scans, 0)[0]} != {scan.company for scan in split(scans, 1)[0]}


def test_a_scan_is_cut_to_its_ink_whatever_its_boxes_say(tmp_path):
    page = np.full((400, 300), 250, np.uint8)
    page[100:200, 90:210] = np.tile([20, 250], (100, 60))
    left, top, right, bottom = inked(page.astype(np.float32))
    assert 75 < left < 90 and 85 < top < 102 and 205 < right < 225 and 195 < bottom < 215
    assert inked(np.full((40, 30), 9, np.float32)) == (0, 0, 30, 40)
    found = []
    for quad in ("90,100,210,100,210,200,90,200", "0,0,300,0,300,400,0,400"):
        Image.fromarray(page).save(tmp_path / "1.jpg", quality=95)
        (tmp_path / "1.boxes.csv").write_text(f"{quad},TOTAL, 5.00\n")
        (tmp_path / "1.fields.json").write_text(json.dumps({"company": "A SDN BHD"}))
        found.append(read(tmp_path / "1.jpg", 64, 32))
    assert np.array_equal(found[0].grey, found[1].grey) and found[0].grey.shape[1] == 64
    across = found[0].quads[0, :, 0]
    assert across.min() > 0 and across.max() < 64 and found[1].quads.min() < 0


def test_boxes_find_one_partner_each():
    wanted = np.array([[0, 0, 10, 4], [0, 10, 10, 14]], float)
    assert matched(wanted, wanted) == 2
    assert matched(np.array([[0, 0, 10, 4], [0, 0, 10, 4]], float), wanted) == 1
    assert matched(np.array([[0, 1, 10, 5], [0, 12, 10, 16]], float), wanted) == 1  # 0.6 and 0.33 of the union
    assert matched(np.zeros((0, 4)), wanted) == 0 == matched(wanted, np.zeros((0, 4)))


def test_quads_grow_by_a_share_of_their_height():
    square = np.array([[[10, 10], [60, 10], [60, 30], [10, 30]]], float)
    by = 20 * MARGIN
    assert np.allclose(grown(square), square + np.array([[-by, -by], [by, -by], [by, by], [-by, by]]))


def test_a_lines_core_is_its_middle():
    made = example(np.ones((40, 60), np.float32), np.array([[[10, 10], [50, 10], [50, 30], [10, 30]]], float))
    lines, cores = made.masks
    assert lines[10:30, 11:50].all() and not lines[:10].any() and lines[:, 30].sum() == 21
    assert cores[16:25, 30].all() and cores[:, 30].sum() == 11
    assert made.boxes.tolist() == [[10, 10, 50, 30]]
