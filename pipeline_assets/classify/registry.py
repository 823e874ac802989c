"""The classifiers of every photo, in addition to the network of `DARKROOM_MODEL`: one line each.

To add one, write a module in this folder with a schema, a function and `CLASSIFIER`, and add it to the list below. Its
table, stored results, schedule and page follow.
"""

from importlib import import_module

from pipeline_assets.classify.photo_classifier import PhotoClassifier

MODULES = ("styles",)
CLASSIFIERS: tuple[PhotoClassifier, ...] = tuple(import_module(f"{__package__}.{name}").CLASSIFIER for name in MODULES)
