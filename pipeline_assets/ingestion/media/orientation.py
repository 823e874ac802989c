"""Turns a photo as its EXIF orientation says. Source: EXIF 2.32 (CIPA DC-008), tag 0x112."""

from PIL import Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """The image turned upright, so that a photo and its turned copy are equal. Without a known orientation, as it is."""
    turn = _TURNS.get(orientation or 1)
    return image if turn is None else image.transpose(turn)
