"""Video variants: speed, pauses, dropped frames, mixing, and constant looks, with sound that stays in sync."""

from pipeline_assets.variants.video.kind import Video
from pipeline_assets.variants.video.schemas import VideoColumns

COLUMNS = VideoColumns
KIND = Video()
