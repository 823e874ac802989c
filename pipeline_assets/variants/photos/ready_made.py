"""Recipes by name, for policies. The kind adds the size and encoding that they leave open."""

from pipeline_assets.variants.recipes import Recipe

LOOKS = ("black_and_white", "sepia", "high_key", "low_key", "vintage", "strong_hdr")
"""Film looks, each an operation and a recipe."""

RECIPES = {
    "crop": Recipe("crop"),
    "flip": Recipe("flip"),
    "rotate": Recipe("rotate"),
    "perspective": Recipe("perspective"),
    "colour": Recipe("colour"),
    "exposure": Recipe("exposure"),
    "blur": Recipe("blur"),
    "noise": Recipe("noise"),
    "low_quality": Recipe("recompress"),
    "cutout": Recipe("cutout"),
    "mixup": Recipe("mixup"),
    "cutmix": Recipe("cutmix"),
    **{look: Recipe(look) for look in LOOKS},
    "crop_and_flip": Recipe("crop").then(Recipe("flip", chance=0.5)),
    "another_view": Recipe("flip", chance=0.5).then(
        Recipe("rotate", degrees=(-10, 10)), Recipe("perspective", strength=0.12), Recipe("colour")
    ),
    "poor_camera": Recipe("crop", area=(0.7, 1.0)).then(
        Recipe("exposure"), Recipe("blur", sigma=(0.5, 1.2)), Recipe("noise"), Recipe("recompress", quality=(25, 60))
    ),
}
