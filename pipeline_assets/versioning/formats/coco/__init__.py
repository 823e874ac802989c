"""COCO: detection and caption data sets."""
