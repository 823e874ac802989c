"""Who may ask a service of this project: addresses, tokens, certificate and rate by the settings of serving."""

from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.serving.endpoint.http.application import Gate
from pipeline_assets.serving.endpoint.http.rates import Rates
from resources.addresses import LOOPBACK
from resources.errors import InsecureEndpoint
from resources.servers.bearer_tokens import BearerTokens
from resources.settings import Settings


@dataclass(frozen=True)
class Access:
    """A gate, and the PEM files of certificate and key; None without TLS."""

    gate: Gate
    tls: tuple[Path, Path] | None

    @property
    def scheme(self) -> str:
        """Of the address."""
        return "https" if self.tls else "http"


def access_to(settings: Settings, host: str) -> Access:
    """The access to a service that listens on `host`.

    Raises InsecureEndpoint for an address of the network without certificate or token.
    """
    tokens = BearerTokens(settings.serve_tokens)
    tls = (settings.serve_certificate, settings.serve_key) if settings.serve_certificate and settings.serve_key else None
    if host not in LOOPBACK and not (tls and tokens.all()):
        raise InsecureEndpoint(
            f"{host} can be reached by others, and needs DARKROOM_SERVE_CERTIFICATE with DARKROOM_SERVE_KEY, and a token "
            "(`darkroom serve token add NAME`). Or listen on 127.0.0.1 behind a proxy that ends TLS: name it in "
            "DARKROOM_SERVE_HOSTS."
        )
    gate = Gate(
        hosts=frozenset({*LOOPBACK, host, *settings.serve_host_names}),
        needs_token=lambda: host not in LOOPBACK or bool(tokens.all()),
        token_name=tokens.name_of,
        rates=Rates(settings.serve_rate),
    )
    return Access(gate, tls)
