"""The columns that speech variants have beside those of every variant."""

import dataframely as dy


class SpeechColumns(dy.Schema):
    """What a clip of sound is."""

    duration_s = dy.Float64(min=0)
    sample_rate_hz = dy.Int32(min=1)
    channels = dy.Int16(min=1)
