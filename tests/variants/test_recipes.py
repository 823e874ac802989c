"""Recipes as values: equal ones have one JSON, and identity and seed follow from nothing else."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pipeline_assets.errors import BadRecipe
from pipeline_assets.variants.operations import Operations, Range, drawn
from pipeline_assets.variants.recipes import Recipe, Step, generator, seed_of, variant_id

value = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
parameters = st.dictionaries(st.text(min_size=1), value | st.lists(value, max_size=3), max_size=4)
A, B = "a" * 64, "b" * 64

SEED, DRAWN = 6_924_990_989_266_912_431, [376, 781, 457]
IDENTITY = "61d03d553db6f9d6f61c476bf685daeab992a1587c5c62eeb895966b06dba050"

sounds = Operations("sounds")


@sounds.operation(version=3)
def speed(sound: bytes, *, factor: Annotated[float, Field(gt=0, le=4)] = 1.5, pitch: bool = False) -> bytes:
    """Faster or slower."""
    return sound


@sounds.operation(parents=2)
def mix(sounds: list[bytes], *, gain_db: Range = (-6, 0)) -> bytes:
    """Two at once."""
    return sounds[0]


@given(st.lists(st.tuples(st.text(min_size=1), parameters, st.integers(0, 9)), min_size=1, max_size=3))
def test_json_and_back_is_the_same_recipe(steps: list[tuple[str, dict[str, object], int]]) -> None:
    recipe = Recipe.of(Step(name, tuple(given.items()), version) for name, given, version in steps)
    assert Recipe.from_json(recipe.json) == recipe
    assert Recipe.from_json(recipe.json).json == recipe.json


def test_the_order_of_parameters_says_nothing() -> None:
    assert Recipe("speed", factor=1.1, pitch=True) == Recipe("speed", pitch=True, factor=1.1)
    assert Recipe("speed", factor=1.1).then(Recipe("mix")).name == "speed + mix"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[1]", '[{"name": "speed"}]', '[{"name":"s","parameters":{"x":{}},"version":1}]']
)
def test_other_text_is_no_recipe(text: str) -> None:
    with pytest.raises(ValueError, match=r"recipe|Expecting"):
        Recipe.from_json(text)


def test_resolving_writes_out_what_was_left_open_and_changes_nothing_after() -> None:
    resolved = sounds.resolve(Recipe("speed", factor=2))
    assert resolved.json == '[{"name":"speed","parameters":{"factor":2.0,"pitch":false},"version":3}]'
    assert sounds.resolve(resolved) == resolved
    assert sounds.parents(resolved) == 1
    assert sounds.parents(resolved.then(Recipe("mix"))) == 2
    assert sounds["speed"].description == "Faster or slower."


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (Recipe("sepia"), "'sepia' is no operation on sounds. There are: mix, speed"),
        (Recipe("speed", factor=0), "factor: Input should be greater than 0"),
        (Recipe("speed", factor=[1, 2]), "factor: Input should be a valid number"),
        (Recipe("speed", factro=2), "factro: Extra inputs"),
        (Recipe.of([Step("speed", (), 2)]), "at version 3; a recipe of version 2 needs"),
    ],
)
def test_a_recipe_that_does_not_fit_says_why(recipe: Recipe, told: str) -> None:
    with pytest.raises(BadRecipe, match=told):
        sounds.resolve(recipe)


def test_identity_and_seed_differ_by_all_that_decides_the_bytes() -> None:
    one, other = sounds.resolve(Recipe("speed")), sounds.resolve(Recipe("speed", factor=2))
    seeds = {
        seed_of((A,), one, 0),
        seed_of((B,), one, 0),
        seed_of((A,), other, 0),
        seed_of((A,), one, 1),
        seed_of((A,), one, 0, 1),
        seed_of((A, B), one, 0),
        seed_of((B, A), one, 0),
    }
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert (
        len({variant_id((A,), one, 1), variant_id((A,), one, 2), variant_id((B,), one, 1), variant_id((A,), other, 1)}) == 4
    )


def test_these_are_the_same_on_every_machine_and_for_ever() -> None:
    recipe = sounds.resolve(Recipe("speed"))
    assert seed_of((A,), recipe, 0) == SEED
    assert variant_id((A,), recipe, 7) == IDENTITY
    assert generator(7).integers(1000, size=3).tolist() == DRAWN
    assert generator(7, "noise").integers(1000, size=3).tolist() != DRAWN


def test_a_range_is_drawn_from_and_a_number_stays() -> None:
    assert drawn(3, generator(1)) == 3.0
    assert 1 <= drawn((1.0, 2.0), generator(1)) <= 2
