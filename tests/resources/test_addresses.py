"""Which addresses of a Redis may have a password."""

import pytest

from resources.addresses import redis_address
from resources.errors import InsecureEndpoint

PRIVATE = (
    "redis://10.0.0.7:6379/0",
    "redis://:s3cr3t@127.0.0.1:6379/0?key={a}:b",
    "redis://someone:s3cr3t@localhost",
    "redis://:s3cr3t@[::1]:6379/0",
    "redis://?password=s3cr3t",
    "rediss://:s3cr3t@redis.example.com:6380/0?ssl_ca_certs=%2Fca.pem",
    "unix:///run/redis.sock?password=s3cr3t",
)
IN_CLEAR = (
    "redis://:s3cr3t@redis.example.com:6379/0",
    "redis://redis.example.com/0?password=s3cr3t",
    "redis://?host=redis.example.com&password=s3cr3t",
    "redis://:s3cr3t@10.0.0.7/0?password_in_clear=yes",
)


@pytest.mark.parametrize("url", PRIVATE)
def test_an_address_that_gives_nobody_a_password_stays_as_it_is(url: str) -> None:
    assert redis_address(url, "DARKROOM_ONLINE_URL").replace("%7B", "{").replace("%7D", "}").replace("%3A", ":") == url


@pytest.mark.parametrize("url", IN_CLEAR)
def test_a_password_that_others_could_read_is_refused_with_what_to_do(url: str) -> None:
    with pytest.raises(InsecureEndpoint, match=r"rediss://.*password_in_clear=true") as refused:
        redis_address(url, "DARKROOM_ONLINE_URL")
    assert "s3cr3t" not in str(refused.value)


def test_whoever_trusts_the_network_says_so() -> None:
    url = "redis://:s3cr3t@10.0.0.7:6379/0?password_in_clear=true&db=1"
    assert redis_address(url, "DARKROOM_ONLINE_URL") == "redis://:s3cr3t@10.0.0.7:6379/0?db=1"
