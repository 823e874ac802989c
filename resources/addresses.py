"""Addresses of this machine, and whether a secret may be sent to an address in clear."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from resources.errors import InsecureEndpoint

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Host names that no other machine reaches."""
IN_CLEAR = "password_in_clear"
"""Parameter of a Redis URL that is Darkroom's own: the network between both machines is trusted."""


def redis_address(url: str, setting: str) -> str:
    """The URL of a Redis without IN_CLEAR. setting: where it comes from.

    Raises InsecureEndpoint for a password that would reach another machine without encryption, unless IN_CLEAR says that it
    may; ValueError if the URL can't be read.
    """
    address, _, text = url.partition("?")
    query = parse_qsl(text, keep_blank_values=True)
    asked, parts = dict(query), urlsplit(address)
    host = parts.hostname or asked.get("host") or "localhost"
    has_password = bool(parts.password or asked.get("password"))
    if parts.scheme == "redis" and has_password and host not in LOOPBACK and asked.get(IN_CLEAR) != "true":
        raise InsecureEndpoint(
            f"{setting} would send its password to {host} unencrypted: write rediss:// for TLS. On a network that only you "
            f"can read, such as a VPN, allow it with ?{IN_CLEAR}=true."
        )
    kept = [(name, value) for name, value in query if name != IN_CLEAR]
    return f"{address}?{urlencode(kept)}" if kept else address
