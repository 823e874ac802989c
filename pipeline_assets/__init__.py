"""Darkroom's software-defined assets: one folder a group, pure functions beside thin declarations."""
