"""What kind of file bytes are, by their first bytes; and what a name's extension claims. Nothing is decoded here."""

import codecs
import re
from pathlib import PurePosixPath

from pipeline_assets.held import HEAD_BYTES

UNKNOWN = "application/octet-stream"

DECODED = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/avif"})
"""Image types that `inspection` decodes; any other `image/...` is unsupported."""

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"\0\0\1\0", "image/vnd.microsoft.icon"),
    (b"%PDF-", "application/pdf"),
    (b"PK\3\4", "application/zip"),
    (b"PK\5\6", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    *((bytes((0xFF, second)), "audio/mpeg") for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2)),
)
_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
"""What the first packet of an Ogg file begins with, after a page header of 28 bytes, if it is sound."""
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "image/heic"),
    b"qt  ": "video/quicktime",
}
_EXTENSIONS = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), "image/jpeg"),
    **dict.fromkeys(("png", "apng"), "image/png"),
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
    **dict.fromkeys(("heic", "heif"), "image/heic"),
    **dict.fromkeys(("bmp", "dib"), "image/bmp"),
    **dict.fromkeys(("txt", "md", "csv", "log"), "text/plain"),
    **dict.fromkeys(("mp4", "m4v"), "video/mp4"),
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "xml": "application/xml",
    "html": "text/html",
    "json": "application/json",
    "zip": "application/zip",
    "gz": "application/gzip",
    "mov": "video/quicktime",
    "webm": "video/webm",
    **dict.fromkeys(("ogg", "oga", "opus"), "audio/ogg"),
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
}
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_MARKUP_START = re.compile(rb"\s*<(\?xml|!doctype|!--|[a-z])", re.IGNORECASE)


def sniff(data: bytes) -> str:
    """The media type that the bytes show, from at most their first 4 KiB; `application/octet-stream` if none."""
    head = data[:HEAD_BYTES]
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"OggS":
        return "audio/ogg" if any(head.startswith(codec, 28) for codec in _OGG_SOUND) else "application/ogg"
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:2] == b"BM" and len(head) >= 26 and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return _text(head)


def claimed(name: str) -> str | None:
    """The media type that the name's extension claims; null where it has none or one that is not known."""
    return _EXTENSIONS.get(PurePosixPath(name).suffix[1:].lower())


def extension_of(media_type: str) -> str:
    """The usual extension of a media type's files, with its dot; empty for a type that is not known."""
    return next((f".{extension}" for extension, known in _EXTENSIONS.items() if known == media_type), "")


def _iso_media(head: bytes) -> str:
    """By the major brand, then by the compatible ones: many AVIF files have the general major brand `mif1`."""
    end = min(int.from_bytes(head[:4], "big"), 256, len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    if brands[0] in (b"mif1", b"msf1") and not {b"avif", b"avis"}.isdisjoint(brands):
        return "image/avif"
    return _BRANDS.get(brands[0], "video/mp4")


def _text(head: bytes) -> str:
    body = head.removeprefix(b"\xef\xbb\xbf")
    try:
        # A character cut by the bound of 4 KiB is no reason to call it binary: only a whole file must end whole.
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return UNKNOWN
    if not text or any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return UNKNOWN
    if not _MARKUP_START.match(body):
        return "text/plain"
    if _SVG.search(body):
        return "image/svg+xml"
    return "text/html" if re.search(r"<html|<!doctype html", text, re.IGNORECASE) else "application/xml"
