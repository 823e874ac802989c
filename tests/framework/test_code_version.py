"""The parts of a code version: named, compared, and only where they are used."""

import random as a_module
from pathlib import Path

import pytest

import pipeline_assets.definitions  # noqa: F401  declares the assets
from pipeline_assets.framework.code_version import Part, differences, parts_of
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.digest import code_digest


def function() -> None:
    """Stands for an asset's."""


def test_parts_have_names_and_models_and_settings_say_their_value(tmp_path: Path) -> None:
    file = tmp_path / "query.sql"
    file.write_text("select 1")
    made = parts_of([function, a_module, file, "text", Part("model", "classifier", "lite0"), Part("config", "rows", "5")])
    assert {kind: set(named) for kind, named in made.items()} == {
        "code": {"function function", "module random", "file query.sql", "text 3"},
        "model": {"classifier"},
        "config": {"rows"},
    }
    assert made["model"]["classifier"] == "lite0"
    assert made["code"]["module random"] == code_digest([a_module])


def test_a_part_digests_as_the_text_that_it_is() -> None:
    assert code_digest(["a", Part("model", "classifier", "b")]) == code_digest(["a", "b"])


def test_differences_name_code_and_show_both_values_of_a_model_or_setting() -> None:
    before = {"code": {"function": "1", "module a": "2"}, "model": {"classifier": "lite0"}}
    now = {"code": {"function": "1", "module a": "3", "module b": "4"}, "config": {"rows": "5"}}
    assert differences(before, now, "code") == ["module a", "module b"]
    assert differences(before, now, "model") == ["classifier lite0 -> not set"]
    assert differences(before, now, "config") == ["rows not set -> 5"]
    assert differences(before, before, "code") == []


@pytest.mark.parametrize("asset", list(DECLARATIONS))
def test_the_classifier_is_a_part_of_what_classifies_and_of_no_other_asset(asset: str) -> None:
    assert ("classifier" in DECLARATIONS[asset].parts.get("model", {})) == (
        asset in {"photo_classes", "photo_styles", "training_variants"}
    )


def test_the_training_window_is_a_setting_of_the_staged_set_and_not_of_the_table_that_it_reads() -> None:
    assert DECLARATIONS["staged_training_set"].parts["config"]["days of training_table"] == "-89..0"
    assert not [name for name in DECLARATIONS["training_table"].parts["config"] if "training_table" in name]
