"""Classifier outputs: content from a torch model, style from measured attributes."""
