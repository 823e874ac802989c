"""What kind of file bytes are, by their first bytes; and what a name's extension claims. Nothing is decoded here."""

import codecs
import re
from pathlib import PurePosixPath

from pipeline_assets.runtime.blobs import HEAD_BYTES

UNKNOWN = "application/octet-stream"

DECODED = frozenset(f"image/{name}" for name in ("jpeg", "png", "gif", "webp", "bmp", "tiff", "avif", "heic", "jp2"))
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
    (b".snd", "audio/basic"),
    (b"dns.", "audio/basic"),
    (b"caff", "audio/x-caf"),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", "audio/x-w64"),
    (b"NIST_1A\n", "audio/x-nist"),
    (b"Creative Voice File\x1a", "audio/x-voc"),
    (b"#!AMR", "audio/amr"),
    (b"MThd", "audio/midi"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"ID3", "audio/mpeg"),
    *((bytes((0xFF, second)), "audio/mpeg") for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2)),
)
_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
"""What the first packet of an Ogg file begins with, after a page header of 28 bytes, if it is sound."""
_FORMS = {
    **dict.fromkeys((b"AIFF", b"AIFC"), "audio/aiff"),
    **dict.fromkeys((b"8SVX", b"16SV"), "audio/x-8svx"),
}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys(
        (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"), "image/heic"
    ),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    b"qt  ": "video/quicktime",
}
_EXTENSIONS = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), "image/jpeg"),
    **dict.fromkeys(("png", "apng"), "image/png"),
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
    **dict.fromkeys(("heic", "heif", "hif", "heics", "heifs"), "image/heic"),
    **dict.fromkeys(("jp2", "j2k", "jpf", "jpx", "j2c", "jpc"), "image/jp2"),
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
    **dict.fromkeys(("aiff", "aif", "aifc"), "audio/aiff"),
    **dict.fromkeys(("au", "snd"), "audio/basic"),
    "caf": "audio/x-caf",
    "w64": "audio/x-w64",
    **dict.fromkeys(("sph", "nist"), "audio/x-nist"),
    "voc": "audio/x-voc",
    **dict.fromkeys(("8svx", "iff"), "audio/x-8svx"),
    **dict.fromkeys(("m4a", "m4b"), "audio/mp4"),
    "aac": "audio/aac",
    "amr": "audio/amr",
    **dict.fromkeys(("mid", "midi"), "audio/midi"),
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
    if head[:4] == b"FORM":
        return _FORMS.get(head[8:12], UNKNOWN)
    if head[:4] in (b"RF64", b"RIFX"):
        return "audio/wav" if head[8:12] == b"WAVE" else UNKNOWN
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
    return next((f".{extension}" for extension, type_of in _EXTENSIONS.items() if type_of == media_type), "")


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
