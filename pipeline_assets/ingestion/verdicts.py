"""The verdicts of inspection. Separate from the schemas, which take half a second to import."""

VERDICTS = {
    "ok": "a photo or recording that decodes completely, or a video with readable pictures",
    "empty": "zero bytes",
    "not_an_image": "the bytes are not in an image, sound or video format that Darkroom knows",
    "undecodable": "sound or video that its decoder refuses, or sound in an unsupported format",
    "bad_samples": "sound with samples that are not finite numbers (NaN or infinite)",
    "unsupported_format": "an image in a format that the classifiers do not read",
    "truncated": "bytes that end early or are corrupt",
    "too_long": "sound or video of more than two hours",
    "too_costly": "sound, video or a picture that needs more memory, time or samples than its file size justifies",
    "too_many_pixels": "declared dimensions above the limit (a decompression bomb)",
    "too_small": "a side of fewer than 16 pixels",
    "too_large": "more bytes than the limit for a photo, or for sound and video",
    "unsupported_mode": "a colour mode without a standard conversion to 8-bit RGB",
    "animated": "more than one frame",
    "wrong_extension": "the name's extension does not match the type of the bytes",
    "bad_key": "a key that is not uploads/{day}/{user_id}/{name}, or that contains '//', '.' or '..' between slashes, "
    "control characters, or over 1,024 bytes",
    "gone": "listed, but deleted or, without versioning, overwritten before it was read; retried",
    "unreadable": "exists, but the store does not return its bytes: denied, archived, or encryption key gone; retried",
}
"""Reasons for quarantine by name, and `ok`: the values of `RawUploads.verdict`."""
