"""How a labeling tool gets the photos and recordings of uploads.

The embedded Label Studio reads them from the store with our keys and passes them on to people who are logged in: no browser
needs to trust the embedded S3's certificate, and no bucket needs rules for other origins. A Label Studio of yours gets no
keys of ours: it gets signed URLs, valid for SIGNED_S. Folders work with the embedded one only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pipeline_assets.errors import LabelToolFailed
from pipeline_assets.labeling.exchange.label_studio import LabelStudio
from resources.objects import s3
from resources.servers.labeling import folder_of_uploads
from resources.settings import Settings, plain

SIGNED_S = 7 * 86_400
"""S3's limit for a signed URL."""


@dataclass(frozen=True)
class Media:
    """url_of: the address of an upload by its key, for a task. connect: lets a project show such addresses."""

    url_of: Callable[[str], str]
    connect: Callable[[LabelStudio, int], None]


def media_of(settings: Settings) -> Media:
    """How the uploads of these settings are shown."""
    folder = folder_of_uploads(settings)
    is_embedded = not settings.label_studio_url
    if folder is not None:
        if not is_embedded:
            raise LabelToolFailed(
                f"Uploads are in the folder {folder}, which your Label Studio can't read: unset DARKROOM_LABEL_STUDIO_URL, "
                "or keep uploads in a bucket."
            )
        return _from_folder(folder)
    return _through_the_tool(settings) if is_embedded else _signed(settings)


def _through_the_tool(settings: Settings) -> Media:
    bucket = settings.uploads_url.removeprefix("s3://").partition("/")[0]
    fields: dict[str, Any] = {
        "title": "uploads",
        "bucket": bucket,
        "use_blob_urls": True,
        # Passed on by Label Studio: a signed URL would lead the browser to a certificate that it does not know.
        "presign": False,
        "region_name": settings.s3_region,
        "s3_endpoint": settings.s3_endpoint or None,
        "aws_access_key_id": plain(settings.s3_access_key) or None,
        "aws_secret_access_key": plain(settings.s3_secret_key) or None,
    }

    def connect(client: LabelStudio, project: int) -> None:
        mine = [one for one in client.storages("s3", project) if one["bucket"] == bucket]
        # Written each time: the endpoint has another port after another program has taken the old one.
        client.save_storage("s3", {**fields, "project": project}, mine[0]["id"] if mine else None)

    return Media(lambda key: f"{settings.uploads_url.rstrip('/')}/{key}", connect)


def _signed(settings: Settings) -> Media:
    parts = urlsplit(settings.uploads_url)
    client, prefix = s3.client(settings), parts.path.strip("/")

    def url_of(key: str) -> str:
        place = {"Bucket": parts.netloc, "Key": f"{prefix}/{key}" if prefix else key}
        return str(client.generate_presigned_url("get_object", Params=place, ExpiresIn=SIGNED_S))

    return Media(url_of, lambda client, project: None)


def _from_folder(folder: Path) -> Media:
    def connect(client: LabelStudio, project: int) -> None:
        if not client.storages("localfiles", project):
            path = str(folder / "uploads")  # a folder below the one that may be shown: Label Studio insists
            client.save_storage("localfiles", {"title": "uploads", "path": path, "use_blob_urls": True, "project": project})

    return Media(lambda key: f"/data/local-files/?d={quote(key)}", connect)
