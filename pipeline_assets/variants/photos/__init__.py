"""Photo variants: geometry, colour, blur, noise, mixing and film looks, with boxes that stay correct."""

from pipeline_assets.variants.photos.kind import Photos
from pipeline_assets.variants.photos.schemas import PhotoColumns

COLUMNS = PhotoColumns
KIND = Photos()
