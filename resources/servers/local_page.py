"""Serves one page and its pictures to this machine: on the loopback, under a secret address, to no other web page."""

import hmac
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
PICTURES = "thumbnails/"
TIMEOUT_S = 30
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NOTHING = b"", "text/plain"


class LocalPage(ThreadingHTTPServer):
    """A page under a secret address.

    Only GET and HEAD are answered, and only under the host names of this machine: a name that resolves to 127.0.0.1 is none
    of them. picture: returns the JPEG of a name, None if there is none.
    """

    daemon_threads = True

    def __init__(self, page: bytes, policy: str, picture: Callable[[str], bytes | None], port: int) -> None:
        self.page, self.policy, self.picture = page, policy, picture
        self.prefix = f"/{secrets.token_urlsafe(24)}/"
        super().__init__((HOST, port), _Handler)
        self.port = self.server_address[1]

    def answer(self, hosts: list[str], path: str) -> tuple[bytes, str]:
        """The body and its type. hosts: all headers of this name."""
        if hosts not in ([f"{HOST}:{self.port}"], [f"localhost:{self.port}"]):
            return NOTHING
        if not hmac.compare_digest(path[: len(self.prefix)].encode(), self.prefix.encode()):
            return NOTHING
        name = path[len(self.prefix) :]
        if name.startswith(PICTURES):
            data = self.picture(name.removeprefix(PICTURES))
            return (data, "image/jpeg") if data else NOTHING
        return NOTHING if name else (self.page, "text/html; charset=utf-8")


class _Handler(BaseHTTPRequestHandler):
    server: LocalPage
    timeout = TIMEOUT_S
    server_version, sys_version = "darkroom", ""

    def do_GET(self) -> None:
        """The page, a picture, or nothing."""
        self._send(has_body=True)

    def do_HEAD(self) -> None:
        """The headers alone."""
        self._send(has_body=False)

    def _send(self, *, has_body: bool) -> None:
        body, kind = self.server.answer(self.headers.get_all("Host", []), self.path)
        self.send_response(200 if body else 404)
        policy = f"{self.server.policy}; frame-ancestors 'none'"
        facts = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for name, value in (facts | HEADERS).items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the address is a secret."""


@contextmanager
def serving(
    page: bytes, policy: str, picture: Callable[[str], bytes | None], port: int = 0
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve a page while the block runs, as `LocalPage` does. port: 0 for a free one.

    Yields its address, and a function that returns when Ctrl-C ends it.
    """
    with LocalPage(page, policy, picture, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="page", daemon=True)
        thread.start()

        def wait() -> None:
            with suppress(KeyboardInterrupt):
                while thread.is_alive():
                    thread.join(1)

        try:
            yield f"http://{HOST}:{server.port}{server.prefix}", wait
        finally:
            server.shutdown()
            thread.join()
