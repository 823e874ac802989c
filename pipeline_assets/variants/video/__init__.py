"""Video variants: speed, pauses, dropped frames, mixing, and looks held over a clip, with sound that stays in sync."""

from pipeline_assets.variants.video.kind import Video
from pipeline_assets.variants.video.schemas import VideoColumns

COLUMNS = VideoColumns
KIND = Video()
