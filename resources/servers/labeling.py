"""The Label Studio of a project: the embedded one, which is started on request, or one of yours by its URL and token."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from resources.addresses import LOOPBACK
from resources.errors import InsecureEndpoint, PortTaken, ServiceFailed
from resources.servers import label_studio
from resources.servers.embedded import Services
from resources.servers.label_studio import NAME, Account
from resources.servers.processes import listening
from resources.servers.server_state import alive_servers, read_state
from resources.servers.tool_venv import python_of
from resources.settings import Settings, plain

START_TRIES = 3


def start(settings: Settings, tell: Callable[[str], object]) -> Account:
    """Start Label Studio if it does not run, and return once it answers; install it before, if that is needed.

    It stops with the other embedded servers. Yours is returned as it is set. tell: called with lines of progress. Raises
    NoSpace, PortTaken and ServiceFailed, with what to do.
    """
    if yours := _yours(settings):
        return yours
    python = python_of(NAME, settings.tools, label_studio.ROOM_BYTES, tell)
    services = Services(settings.home, settings.embedded_servers)
    bundle = settings.s3_ca_bundle if settings.s3_ca_bundle and settings.s3_ca_bundle.is_file() else None
    for tries_left in reversed(range(START_TRIES)):
        server = services.add(NAME, lambda: label_studio.start(settings.home, python, bundle, folder_of_uploads(settings)))
        try:
            return label_studio.wait_ready(server, settings.home, tell)
        except PortTaken:
            services.remove(NAME)
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def found(settings: Settings) -> Account | None:
    """Yours if it is set, else the embedded one if it listens on its port now; None otherwise.

    While it starts, another program may listen there: that one gets no token.
    """
    account = known(settings)
    if account is None or not account.username:
        return account
    server = alive_servers(read_state(settings.home)).get(NAME)
    return account if server is not None and label_studio.port_of(account) in listening(server) else None


def known(settings: Settings) -> Account | None:
    """Yours if it is set, else the embedded one if it was ever started here; None otherwise."""
    if yours := _yours(settings):
        return yours
    return label_studio.account_of(settings.home) if label_studio.has_account(settings.home) else None


def folder_of_uploads(settings: Settings) -> Path | None:
    """The folder of uploads; None if they are in a bucket."""
    parts = urlsplit(settings.uploads_url)
    return Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None


def _yours(settings: Settings) -> Account | None:
    if not settings.label_studio_url:
        return None
    if not settings.label_studio_token:
        raise ServiceFailed(
            "DARKROOM_LABEL_STUDIO_URL is set, but DARKROOM_LABEL_STUDIO_TOKEN is not: copy the legacy token from "
            "Label Studio's page Account & Settings (an owner may have to allow legacy tokens under Organization)."
        )
    parts = urlsplit(settings.label_studio_url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise InsecureEndpoint(
            f"{parts.scheme}://{parts.hostname} would get the token unencrypted: use Label Studio's https address."
        )
    if parts.username is not None or parts.password is not None:
        raise InsecureEndpoint(
            "DARKROOM_LABEL_STUDIO_URL has a name or a password in it, which would be shown: write it without, and put the "
            "token into DARKROOM_LABEL_STUDIO_TOKEN."
        )
    url = settings.label_studio_url.rstrip("/")
    return Account(url, url.partition("://")[2].lower(), plain(settings.label_studio_token))
