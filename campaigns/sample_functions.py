"""Labeling functions of the sample's campaign `sample-subject`: crude on purpose (docs/labeling/beyond-asking.md)."""

import polars as pl

from pipeline_assets.labeling.weak.functions import labeling_function

LOOKS_LIKE = {
    "animal": ["Egyptian cat", "tiger cat", "tabby", "lynx", "lion", "Rhodesian ridgeback"],
    "food": ["espresso", "chocolate sauce", "consomme", "ladle", "cup", "coffee mug", "eggnog"],
    "vehicle": ["moped", "motor scooter", "disk brake", "missile", "crane (machine)", "crash helmet"],
    "person": ["tripod", "barbell", "football helmet", "backpack"],
    "texture": ["stone wall", "doormat", "window screen", "maze"],
    "tissue": ["tick", "trilobite", "nematode", "jellyfish", "terrapin"],
    "document": ["crossword puzzle", "envelope", "menu", "slide rule", "web site"],
}


def _by(condition: pl.Expr, subject: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(subject))


@labeling_function(name="first class", classes=list(LOOKS_LIKE))
def first_class(items: pl.DataFrame) -> pl.Expr:
    """What the classifier's best class stands for."""
    best = pl.col("top5_label").list.first()
    return pl.coalesce(_by(best.is_in(labels), subject) for subject, labels in LOOKS_LIKE.items())


@labeling_function(name="further classes", classes=list(LOOKS_LIKE))
def further_classes(items: pl.DataFrame) -> pl.Expr:
    """What any of the classifier's second to fifth classes stands for."""
    further = pl.col("top5_label").list.slice(1)
    return pl.coalesce(
        _by(further.list.set_intersection(labels).list.len() > 0, subject) for subject, labels in LOOKS_LIKE.items()
    )


@labeling_function(name="wheels", classes=["vehicle"])
def wheels(items: pl.DataFrame) -> list[str | None]:
    """A class with a word of vehicles in its name."""
    words = {"scooter", "moped", "brake", "wheel", "bike", "helmet"}
    return [
        "vehicle" if labels and words & set(" ".join(labels).split()) else None for labels in items["top5_label"].to_list()
    ]


@labeling_function(name="grey", classes=["texture", "document"])
def grey(items: pl.DataFrame) -> pl.Expr:
    """A photo without colour, of which the classifier knows little."""
    is_vague = pl.col("top5_probability").list.first() < 0.3
    return _by((pl.col("mode") == "L") & is_vague, "document")


@labeling_function(name="round and dark", classes=["space"])
def round_and_dark(items: pl.DataFrame) -> pl.Expr:
    """What the classifier takes for lights and bubbles."""
    return _by(pl.col("top5_label").list.set_intersection(["bubble", "traffic light", "spotlight"]).list.len() > 0, "space")
