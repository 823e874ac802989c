"""The columns specific to speech variants."""

import dataframely as dy


class SpeechColumns(dy.Schema):
    """Properties of a clip of sound."""

    duration_s = dy.Float64(min=0)
    sample_rate_hz = dy.Int32(min=1)
    channels = dy.Int16(min=1)
