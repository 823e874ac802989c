"""Speech variants: speed, tempo, pauses, mixing, noise and rooms, with correct times of words."""

from pipeline_assets.variants.speech.kind import Speech
from pipeline_assets.variants.speech.schemas import SpeechColumns

COLUMNS = SpeechColumns
KIND = Speech()
