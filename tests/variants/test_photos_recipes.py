import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.errors import BadRecipe
from pipeline_assets.variants.photos import KIND, plans
from pipeline_assets.variants.photos.effects import Canvas, Fit
from pipeline_assets.variants.recipes import Recipe


def names(recipe):
    return [step.name for step in recipe.steps]


def test_what_is_left_open_is_size_and_encoding():
    recipe = KIND.complete(Recipe("flip"))
    assert names(recipe) == ["fit", "flip", "jpeg"]
    assert dict(recipe.steps[0].parameters) == {"shape": "square", "side_px": 224}
    assert dict(recipe.steps[2].parameters) == {"quality": 92}
    assert KIND.complete(recipe) == recipe


def test_what_is_given_is_kept():
    recipe = KIND.complete(Recipe("fit", side_px=64, shape="aspect").then(Recipe("flip"), Recipe("png")))
    assert names(recipe) == ["fit", "flip", "png"]
    assert plans.compiled(recipe).fit == Fit(64, is_square=False)
    assert plans.compiled(recipe).encoding.described == "png, lossless"


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("fit"),
        Recipe("jpeg"),
        Recipe("fit").then(Recipe("png")),
        Recipe("flip").then(Recipe("fit")),
        Recipe("jpeg").then(Recipe("flip")),
        Recipe("flip").then(Recipe("png"), Recipe("webp")),
        Recipe("fit").then(Recipe("fit"), Recipe("flip")),
        Recipe("sharpen"),
        Recipe("flip", axis="diagonal"),
        Recipe("flip", degrees=5),
        Recipe("blur", sigma=0),
        Recipe("blur", sigma=1000),
        Recipe("blur", sigma="wide"),
        Recipe("rotate", degrees=(1, 2, 3)),
        Recipe("rotate", degrees=1000.0),
        Recipe("crop", area=0.0),
        Recipe("crop", area=(0.5, 2.0)),
        Recipe("jpeg", quality=101),
        Recipe("fit", side_px=100_000),
        Recipe("fit", side_px=0),
        Recipe("mixup", share=1.0),
        Recipe("cutout", holes=1000),
    ],
    ids=lambda recipe: recipe.json,
)
def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_made(recipe):
    with pytest.raises(BadRecipe):
        KIND.complete(recipe)


@pytest.mark.parametrize("name", KIND.recipes)
def test_each_ready_made_recipe_is_complete_and_says_how_many_photos_it_takes(name):
    recipe = KIND.complete(KIND.recipes[name])
    assert KIND.operations.parents(recipe) == (2 if name in ("mixup", "cutmix") else 1)
    assert all(KIND.operations[step.name].description for step in recipe.steps)


@given(st.sampled_from(sorted(KIND.recipes)), st.integers(0, 2**63 - 1))
def test_a_seed_decides_a_plan(name, seed):
    recipe = plans.compiled(KIND.complete(KIND.recipes[name]))
    one, two = (plans.plan(recipe, seed, Canvas(64, 64), (0, 0, 64, 64)) for _ in range(2))
    assert (one.region, one.mirrored) == (two.region, two.mirrored)
    assert len(one.effects) == len(two.effects)
    for a, b in zip(one.effects, two.effects, strict=True):
        assert type(a) is type(b)
        for mine, theirs in zip(vars(a).values(), vars(b).values(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_cut_and_mirroring_at_the_start_become_a_part_of_the_fit():
    recipe = Recipe("crop", area=0.25, aspect=1.0).then(Recipe("flip", axis="both"), Recipe("blur"), Recipe("flip"))
    plan = plans.plan(plans.compiled(KIND.complete(recipe)), 5, Canvas(100, 100), (50.0, 0.0, 450.0, 400.0))
    left, top, right, bottom = plan.region
    assert (right - left, bottom - top) == pytest.approx((200, 200))
    assert left >= 50 and right <= 450 and top >= 0 and bottom <= 400
    assert plan.mirrored == (1, 0)
    assert [type(effect).__name__ for effect in plan.effects] == ["Blur", "Warp"]


@pytest.mark.parametrize(
    ("fit", "size", "canvas"),
    [
        (Fit(224, True), (500, 375), (224, 224)),
        (Fit(224, False), (500, 375), (299, 224)),
        (Fit(224, False), (375, 500), (224, 299)),
        (Fit(100, False), (5000, 100), (300, 100)),
        (Fit(100, False), (100, 5000), (100, 300)),
    ],
)
def test_a_canvas_is_square_or_keeps_the_photos_aspect_up_to_three_to_one(fit, size, canvas):
    found = plans.canvas_of(fit, *size)
    assert (found.width, found.height) == canvas
    left, top, right, bottom = plans.centred(found, *size)
    assert left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
    assert (left + right, top + bottom) == pytest.approx(size)
