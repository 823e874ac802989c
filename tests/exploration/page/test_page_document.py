"""The page's text: nothing of the data becomes markup or script."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from photo_rows import training_rows
from PIL import Image

from pipeline_assets.errors import BadImage
from pipeline_assets.exploration.page.document import About, Variant, page, policy_of
from pipeline_assets.exploration.page.points import points
from pipeline_assets.exploration.page.thumbnails import SIDE_PX, thumbnail

PLANTED = '</script><script>alert(1)</script><img src=x onerror="alert(1)">\'"{{SCRIPT}}\u2028\u202e'


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *(name for name, _ in attrs)))


def header_of(text):
    return json.loads(re.search(r'id="header">(.*?)</script>', text, re.S)[1])


@pytest.mark.slow
@given(st.text(max_size=60) | st.just(PLANTED))
def test_no_text_of_the_data_changes_the_elements_of_the_page(text):
    plain = Elements(page(points(training_rows(2, top_class=pl.Series(["cat"] * 2))), About("Photos"), {})).found
    odd = points(training_rows(2, top_class=pl.Series([text] * 2)).rename({"logins_1d": f"label {text}"}))
    written = page(odd, About(text, condition=text, notes=[text]), {}, [Variant(f"{0:064x}", text, b"x")])
    assert Elements(written).found == plain
    assert text in header_of(written)["columns"][1]["categories"]


def test_the_policy_allows_this_style_and_this_script_alone():
    text = page(points(training_rows(1)), About("Photos"), {})
    policy = policy_of(text)
    for name, element in (("style", "style"), ("script", "script")):
        [content] = re.findall(rf"<{element}>(.*?)</{element}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)


def test_equal_thumbnails_are_in_the_page_once_and_those_of_other_photos_are_not():
    same = training_rows(3, sha256=pl.Series(["a" * 64, "a" * 64, "b" * 64]))
    text = page(points(same), About("Photos"), {"a" * 64: b"one", "c" * 64: b"two"}, [Variant("b" * 64, "blur", b"one")])
    header = header_of(text)
    assert header["thumbnails"] == [[0, 0], [1, 0]]
    assert header["variants"] == [[2, "blur", 0]]
    assert header["pictures"] == [4]


@pytest.mark.parametrize(
    ("number", "id_type"),
    [(2**62 + 1, "i8"), (-(2**63), "i8"), (2**31, "i8"), (-(2**31) - 1, "i8"), (2**31 - 1, "i4"), (-(2**31), "i4")],
)
def test_large_ids_stay_exact(number, id_type):
    text = page(points(training_rows(1, photo_id=pl.Series([number], dtype=pl.Int64))), About("Photos"), {})
    assert header_of(text)["id_type"] == id_type


def jpeg(width, height, exif=None):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(file, "JPEG", **({"exif": exif} if exif else {}))
    return file.getvalue()


def test_a_thumbnail_is_small_upright_and_without_exif():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    found = Image.open(io.BytesIO(thumbnail(jpeg(640, 320, exif))))
    assert found.size == (SIDE_PX // 2, SIDE_PX)
    assert not found.getexif()
    assert b"camera" not in thumbnail(jpeg(640, 320, exif))


@pytest.mark.parametrize("data", [b"", b"<svg onload='alert(1)'/>", jpeg(640, 320)[:500]])
def test_what_is_no_photo_has_no_thumbnail(data):
    with pytest.raises(BadImage):
        thumbnail(data)
