"""A page that this machine alone can open."""

import http.client
import threading
from urllib.parse import urlsplit

import pytest

from resources.servers import local_page

PAGE = b"<!doctype html>the page"


@pytest.fixture
def server():
    pictures = {"a.jpg": b"picture"}
    with local_page.serving(PAGE, "default-src 'none'", pictures.get) as (url, _):
        yield urlsplit(url)


def ask(server, path=None, method="GET", **headers):
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    connection.request(method, server.path if path is None else path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_the_page_and_its_pictures_are_under_the_secret_of_the_address(server):
    status, body, headers = ask(server)
    assert (status, body) == (200, PAGE)
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    status, body, headers = ask(server, f"{server.path}thumbnails/a.jpg")
    assert (status, body, headers["Content-Type"]) == (200, b"picture", "image/jpeg")
    assert ask(server, method="HEAD")[:2] == (200, b"")


@pytest.mark.parametrize("path", ["/", "/index.html", "/x/", "//", "/%2e%2e/", "/" + "a" * 32 + "/"])
def test_without_the_secret_there_is_nothing(server, path):
    assert ask(server, path)[:2] == (404, b"")


@pytest.mark.parametrize("name", ["x", "thumbnails/b.jpg", "thumbnails/../", "thumbnails/", "thumbnails/%00"])
def test_other_names_are_nothing(server, name):
    assert ask(server, server.path + name)[:2] == (404, b"")


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "127.0.0.1.example.org:{port}", "127.0.0.1:{port}, x", ""])
def test_another_host_is_answered_with_nothing(server, host):
    assert ask(server, Host=host.format(port=server.port))[:2] == (404, b"")


def test_other_methods_are_refused(server):
    assert ask(server, method="POST")[0] == 501


def test_two_servers_have_two_secrets_and_each_listens_on_the_loopback_alone(server):
    with local_page.serving(PAGE, "", dict().get) as (url, _):
        assert urlsplit(url).path != server.path
        assert urlsplit(url).hostname == "127.0.0.1"
        assert len(server.path) > 30


def test_its_thread_ends_with_it():
    before = threading.active_count()
    with local_page.serving(PAGE, "", dict().get):
        assert threading.active_count() > before
    assert threading.active_count() == before
