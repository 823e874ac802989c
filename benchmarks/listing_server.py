"""An S3 server that only lists: any number of objects without bytes, made up as they are asked for.

It answers ListObjectsV2, ListObjectVersions and HEAD over HTTP, in S3's XML, so that what is measured includes requests
and parsing, as with a real bucket. Each day has users with a hundred photos each.
"""

import sys
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Bucket:
    """`objects` objects over `days` days, so many a day, in key order."""

    def __init__(self, objects: int, days: int, newest_day: date) -> None:
        self.objects = objects
        self.per_day = -(-objects // days)
        self.first = newest_day - timedelta(days=days - 1)

    def key(self, i: int) -> str:
        """The key of object i; keys ascend with i."""
        day, index_in_day = divmod(i, self.per_day)
        return f"uploads/{self.first + timedelta(days=day)}/{1_000_000 + index_in_day // 100}/{index_in_day % 100:02}.jpg"

    def after(self, key: str) -> int:
        """The number of the first object whose key is above this one."""
        low, high = 0, self.objects
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.key(middle) <= key else (low, middle)
        return low

    def page(self, prefix: str, after: str, count: int) -> list[int]:
        """Up to so many objects that begin with a prefix and come after a key."""
        start = self.after(max(after, prefix[:-1] + chr(ord(prefix[-1]) - 1) + "\U0010ffff" if prefix else ""))
        indices = range(start, min(start + count, self.objects))
        return [i for i in indices if self.key(i).startswith(prefix)]

    def modified(self, i: int) -> datetime:
        """Noon of the object's day."""
        return datetime.combine(self.first + timedelta(days=i // self.per_day), datetime.min.time(), UTC) + timedelta(
            hours=12
        )


class Handler(BaseHTTPRequestHandler):
    """One request. The bucket is the server's."""

    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def do_GET(self) -> None:
        """List objects or versions."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        value = {name: values[0] for name, values in query.items()}
        count = min(int(value.get("max-keys", 1000)), 1000)
        versions = "versions" in value
        after = value.get("key-marker", "") if versions else value.get("continuation-token") or value.get("start-after", "")
        indices = self.bucket.page(value.get("prefix", ""), after, count + 1)
        body = self._xml(indices[:count], len(indices) > count, "ListVersionsResult" if versions else "ListBucketResult")
        self._answer(body.encode())

    def do_HEAD(self) -> None:
        """One object."""
        key = unquote(urlsplit(self.path).path).split("/", 2)[2]
        i = self.bucket.after(key) - 1
        self.send_response(200 if i >= 0 and self.bucket.key(i) == key else 404)
        self.send_header("Content-Length", "110000")
        self.send_header("ETag", f'"{max(i, 0):032x}"')
        self.send_header("x-amz-version-id", f"v{i:09}")
        self.send_header("Last-Modified", f"{self.bucket.modified(max(i, 0)):%a, %d %b %Y %H:%M:%S GMT}")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _xml(self, indices: list[int], is_truncated: bool, name: str) -> str:
        versions = name == "ListVersionsResult"
        entry = "Version" if versions else "Contents"
        rows = "".join(
            f"<{entry}><Key>{self.bucket.key(i)}</Key>"
            + (f"<VersionId>v{i:09}</VersionId><IsLatest>true</IsLatest>" if versions else "")
            + f"<LastModified>{self.bucket.modified(i):%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>&quot;{i:032x}&quot;</ETag><Size>110000</Size><StorageClass>STANDARD</StorageClass></{entry}>"
            for i in indices
        )
        last = self.bucket.key(indices[-1]) if indices else ""
        token = f"<NextKeyMarker>{last}</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>" if versions else ""
        token = token or f"<NextContinuationToken>{last}</NextContinuationToken>"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{'true' if is_truncated else 'false'}</IsTruncated>{token if is_truncated else ''}{rows}</{name}>"
        )

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Does not linger over connections at its end."""

    daemon_threads = True


def main() -> None:
    """`listing_server.py OBJECTS DAYS NEWEST_DAY`: serve on a free port of this machine, which is printed."""
    Handler.bucket = Bucket(int(sys.argv[1]), int(sys.argv[2]), date.fromisoformat(sys.argv[3]))
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
