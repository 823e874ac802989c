"""Labeling functions: declared, found in a module, applied to rows."""

import random
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import BadLabelingFunctions
from pipeline_assets.labeling.weak.functions import MAX_FAULTS, Fault, LabelingFunction, apply, labeling_function, load
from pipeline_assets.labeling.weak.modules import source_path, sources

CLASSES = ["cat", "dog"]
ITEMS = pl.DataFrame({"title": ["a cat", "a dog", "a cat and a dog", None]})


def by(compute, name="f", classes=CLASSES):
    return labeling_function(name=name, classes=classes)(compute)


def votes_of(compute, items=ITEMS, classes=CLASSES):
    votes, faults = apply([by(compute)], items, classes)
    return votes["f"].to_list(), faults


@pytest.mark.parametrize(
    "compute",
    [
        lambda items: pl.when(pl.col("title").str.ends_with("cat")).then(pl.lit("cat")),
        lambda items: ["cat" if (title or "").endswith("cat") else None for title in items["title"]],
        lambda items: tuple("cat" if (title or "").endswith("cat") else None for title in items["title"]),
        lambda items: items["title"].str.ends_with("cat").replace_strict({True: "cat"}, default=None),
        lambda items: np.array(["cat" if (title or "").endswith("cat") else None for title in items["title"]], object),
    ],
)
def test_a_function_returns_an_expression_a_list_a_series_or_an_array(compute):
    assert votes_of(compute) == (["cat", None, None, None], [])


def test_a_function_that_raises_on_a_row_abstains_there_and_votes_elsewhere():
    votes, faults = votes_of(lambda items: ["dog" if "dog" in title else None for title in items["title"]])
    assert votes == [None, "dog", "dog", None]
    assert faults == [Fault("f", 3, "raised", "TypeError: argument of type 'NoneType' is not iterable")]


def test_a_vote_for_what_is_no_class_is_set_aside_alone():
    votes, faults = votes_of(lambda items: ["cat", "horse", 1, float("nan")])
    assert votes == ["cat", None, None, None]
    assert [(fault.row, fault.reason) for fault in faults] == [
        (1, "unknown_class"),
        (2, "unknown_class"),
        (3, "unknown_class"),
    ]


def test_a_function_votes_only_for_the_classes_that_it_declared():
    votes, faults = apply([by(lambda items: ["cat", "dog", None, None], classes=["cat"])], ITEMS, CLASSES)
    assert votes["f"].to_list() == ["cat", None, None, None]
    assert faults[0].detail == "'dog' is not among its classes"


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (lambda items: 1 / 0, "raised"),
        (lambda items: ["cat"], "wrong_length"),
        (lambda items: ["cat"] * (items.height + 1), "wrong_length"),
        (lambda items: pl.lit("cat"), "wrong_length"),
        (lambda items: "cat", "raised"),
        (lambda items: None, "raised"),
        (lambda items: pl.col("no_such_column"), "raised"),
        (lambda items: ["no class"] * items.height, "unknown_class"),
    ],
)
def test_a_function_that_fails_on_many_rows_is_set_aside_and_its_neighbours_vote(compute, reason):
    items = pl.DataFrame({"title": ["x"] * 50})
    votes, faults = apply([by(compute, "bad"), by(lambda items: ["cat"] * items.height, "good")], items, CLASSES)
    assert votes["bad"].null_count() == 50
    assert votes["good"].to_list() == ["cat"] * 50
    [fault] = faults
    assert (fault.function, fault.row, fault.reason) == ("bad", None, reason)


class _Mute(Exception):
    def __str__(self):
        raise RuntimeError("says nothing")


class _Shy:
    def __repr__(self):
        raise RuntimeError("shows nothing")


def _raise(error):
    raise error


def _drop(items):
    items.drop_in_place("title")
    return ["cat"] * items.height


def _rename(items):
    items.columns = ["TITLE"]
    return ["cat"] * items.height


def _write(items):
    items[0, "title"] = "written"
    return ["cat"] * items.height


@pytest.mark.parametrize(
    "compute",
    [
        lambda items: np.array(None),
        lambda items: np.array("cat"),
        lambda items: np.where(items.height > 1, "cat", "dog"),
        lambda items: np.full((items.height, 2), "cat"),
        lambda items: _raise(SystemExit(1)),
        lambda items: _raise(pl.exceptions.PanicException("panic")),
        lambda items: _raise(_Mute()),
        lambda items: _raise(OSError("caf\udce9.txt")),
        lambda items: [_Shy()] * items.height,
        lambda items: ["\ud800"] * items.height,
        lambda items: items.lazy(),
        lambda items: (title for title in items["title"]),
        lambda items: pl.Series([object()] * items.height, dtype=pl.Object),
        _drop,
        _rename,
        _write,
    ],
)
def test_whatever_one_function_does_the_next_one_votes_on_the_same_rows(compute):
    items, seen = ITEMS.clone(), []
    next_one = by(lambda items: [seen.append(items), ["dog"] * items.height][1], "next")
    votes, faults = apply([by(compute), next_one], items, CLASSES)
    assert votes["next"].to_list() == ["dog"] * 4
    assert seen[0].equals(ITEMS)
    assert items.equals(ITEMS)
    if compute not in (_drop, _rename, _write):
        assert votes["f"].null_count() == 4
        assert faults
    pl.DataFrame([fault.detail for fault in faults])


def test_who_stops_the_process_is_heard():
    with pytest.raises(KeyboardInterrupt):
        apply([by(lambda items: _raise(KeyboardInterrupt()))], ITEMS, CLASSES)


def test_a_function_of_another_questions_classes_is_set_aside():
    votes, [fault] = apply([by(lambda items: ["horse"] * items.height, classes=["horse"])], ITEMS, CLASSES)
    assert votes["f"].null_count() == ITEMS.height
    assert fault.row is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["cat", "dog", "raise", "horse", None]), max_size=60))
def test_each_row_gets_its_own_vote_or_its_own_fault(answers):
    def compute(items):
        if "raise" in items["title"].to_list():
            raise ValueError("this row")
        return items["title"]

    votes, faults = votes_of(compute, pl.DataFrame({"title": answers}, schema={"title": pl.String}))
    wrong = [row for row, answer in enumerate(answers) if answer in ("raise", "horse")]
    if len(wrong) <= MAX_FAULTS:
        assert votes == [answer if answer in CLASSES else None for answer in answers]
        assert [fault.row for fault in faults] == wrong
    else:
        assert votes == [None] * len(answers)
        assert [fault.row for fault in faults] == [None]


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "", "classes": CLASSES},
        {"name": "f", "classes": []},
        {"name": "f", "classes": "cat"},
        {"name": "f", "classes": [1]},
        {"name": "\ud800", "classes": CLASSES},
    ],
)
def test_a_function_without_name_or_classes_is_refused(arguments):
    with pytest.raises(BadLabelingFunctions):
        labeling_function(**arguments)
    with pytest.raises(BadLabelingFunctions):
        LabelingFunction(**arguments, compute=len)


HEAD = "from pipeline_assets.labeling.weak.functions import labeling_function\n"
ONE = "@labeling_function(name='{}', classes=['cat', 'dog'])\ndef {}(items):\n    return items['title']\n"


def module(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    return name


def test_functions_of_a_module_come_in_the_order_of_their_definition(tmp_path):
    name = module(tmp_path, "weak_in_order", HEAD + ONE.format("second", "b") + ONE.format("first", "a"))
    path = list(sys.path)
    assert [function.name for function in load(name, tmp_path)] == ["second", "first"]
    assert sys.path == path
    assert source_path(name, tmp_path) == tmp_path / "weak_in_order.py"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no labeling function"),
        ("def f(items): return None", "has no labeling function"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise OSError('caf\\udce9')", "OSError"),
        ("import no_such_package", "No module named"),
        (HEAD + ONE.format("same", "a") + ONE.format("same", "b"), "two labeling functions named same"),
        (HEAD + "labeling_function(name='', classes=['cat'])", "needs a name"),
    ],
)
def test_a_module_that_can_not_be_used_is_named_with_what_to_do(tmp_path, text, says):
    name = module(tmp_path, f"weak_bad_{abs(hash(text))}", text)
    with pytest.raises(BadLabelingFunctions, match=says):
        load(name, tmp_path)


def test_a_module_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadLabelingFunctions, match="lies in campaigns/"):
        load("weak_no_such_module", tmp_path)
    assert source_path("weak_no_such_module", tmp_path) is None
    assert source_path("no_such_package.functions") is None


def test_a_module_is_loaded_as_its_files_are_now_and_leaves_nothing_behind(tmp_path):
    before = set(sys.modules)
    helper = tmp_path / "weak_helper.py"
    helper.write_text("NAMES = ['a']\n")
    name = module(
        tmp_path, "weak_anew", HEAD + "from weak_helper import NAMES\n" + ONE.format("one", "x") + ONE.format("two", "y")
    )
    assert [one.name for one in load(name, tmp_path)] == ["one", "two"]
    module(tmp_path, name, HEAD + "import weak_helper\n" + ONE.format("one", "renamed"))
    assert [one.name for one in load(name, tmp_path)] == ["one"]
    module(
        tmp_path, name, HEAD + "import weak_helper\nname = weak_helper.NAMES[0]\n" + ONE.replace("'{}'", "name").format("x")
    )
    assert [one.name for one in load(name, tmp_path)] == ["a"]
    helper.write_text("NAMES = ['b']\n")
    assert [one.name for one in load(name, tmp_path)] == ["b"]
    assert set(sys.modules) == before
    assert sources(name, tmp_path) == [tmp_path / "weak_anew.py", helper]


@pytest.mark.parametrize("line", ["from weak_pack.rules import *", "from .rules import *"])
def test_a_package_may_import_from_itself(tmp_path, line):
    package = tmp_path / "weak_pack"
    package.mkdir()
    (package / "__init__.py").write_text(line)
    for name in ("one", "two"):
        (package / "rules.py").write_text(HEAD + ONE.format(name, "f"))
        assert [one.name for one in load("weak_pack", tmp_path)] == [name]
        assert [one.name for one in load("weak_pack.rules", tmp_path)] == [name]
    assert "weak_pack" not in sys.modules
    assert sources("weak_pack", tmp_path) == [package / "__init__.py", package / "rules.py"]


def test_the_place_of_a_module_is_found_without_running_its_package(tmp_path, monkeypatch):
    (tmp_path / "weak_boom").mkdir()
    (tmp_path / "weak_boom" / "__init__.py").write_text("raise SystemExit('it was run')")
    (tmp_path / "weak_boom" / "rules.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert source_path("weak_boom.rules") == tmp_path / "weak_boom" / "rules.py"
    assert source_path("weak_boom.none") is None
    assert source_path("weak_boom.rules.deeper") is None


@pytest.mark.parametrize("name", ["random", "polars", "pytest"])
def test_a_module_with_the_name_of_another_is_refused_and_the_other_stays(tmp_path, name):
    module(tmp_path, name, HEAD + ONE.format("one", "f"))
    before = sys.modules.get(name)
    with pytest.raises(BadLabelingFunctions, match="rename yours"):
        load(name, tmp_path)
    assert sys.modules.get(name) is before
    assert random.choice([1]) == 1
