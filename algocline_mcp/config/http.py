"""Settings of `alc serve`: its address, its limits, and who may ask from where. Pure.

Contract. `HttpLimits.from_env` and `HttpSettings.from_env` read only the mapping that they are given, and raise
HomeUnusable for a value that does not work. `refuse_open_door` raises Refused where strangers could reach a server that
does not ask who they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from algocline_mcp.config.limits import MIB, chosen_limits, limit
from algocline_mcp.errors import HomeUnusable, Refused

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of a server over HTTP. The unit ends the name, as in Limits."""

    # A process may open 1,024 files: a call under way takes one more, to its worker, and each of 128 workers one.
    connections: int = limit(
        400, "ALC_HTTP_CONNECTIONS", "open connections; for one more the one that was idle longest is closed"
    )
    requests: int = limit(200, "ALC_HTTP_REQUESTS", "requests under way; one more gets 503")
    requests_each: int = limit(
        50, "ALC_HTTP_REQUESTS_EACH", "requests under way of one principal, where there are several; one more gets 503"
    )
    body_bytes: int = limit(8 * MIB, "ALC_HTTP_BODY_BYTES", "the body of a request; a longer one gets 413")
    bodies_bytes: int = limit(
        64 * MIB, "ALC_HTTP_BODIES_BYTES", "the bodies of all requests under way; a request beyond it gets 503"
    )
    header_bytes: int = limit(
        64 * 1024, "ALC_HTTP_HEADER_BYTES", "request line and headers; longer ones get 400", at_most=MIB
    )
    read_s: float = limit(30.0, "ALC_HTTP_READ_S", "a client sends a whole request within this, or is disconnected")
    write_s: float = limit(30.0, "ALC_HTTP_WRITE_S", "a client reads what it is sent within this, or is disconnected")
    idle_s: float = limit(60.0, "ALC_HTTP_IDLE_S", "a connection without a request is closed after this")
    unready_s: float = limit(
        0.0, "ALC_HTTP_UNREADY_S", "after SIGTERM /readyz says 503 for this before the server takes no more connections"
    )
    drain_s: float = limit(
        8.0, "ALC_HTTP_DRAIN_S", "after SIGTERM calls under way have this to end; then each is told to ask again"
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "HttpLimits":
        """Defaults, overridden by the variables that are set. Raises HomeUnusable for a value out of range."""
        return cls(**chosen_limits(cls, environ))


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host`: an IP address or a name; of an IPv6 address without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """HOST:PORT, or :PORT for this machine alone. Raises ValueError with one sentence."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        is_number = port.isascii() and port.isdigit() and len(port) <= 5
        if not colon or not is_number or int(port) > 65_535 or (":" in host and f"[{host}]" not in text):
            raise ValueError(f"{text!r} is not an address: write HOST:PORT, such as 127.0.0.1:8080, or :8080")
        return cls(host or "127.0.0.1", int(port))

    @property
    def is_local(self) -> bool:
        """Whether it can be reached from this machine alone."""
        if self.host in _LOCAL_NAMES:
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> "Address":
        return Address(self.host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An OAuth authorization server. `audience`: what its tokens for this server are for; a URL is also published for
    clients that ask where to get one. `keys_url`: of its JWK set."""

    issuer: str
    audience: str
    keys_url: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Issuer | None":
        issuer = environ.get("ALC_HTTP_ISSUER", "").strip()
        audience = environ.get("ALC_HTTP_AUDIENCE", "").strip()
        keys_url = environ.get("ALC_HTTP_KEYS_URL", "").strip()
        if not (issuer or audience or keys_url):
            return None
        if not (issuer and audience and keys_url):
            names = "ALC_HTTP_ISSUER, ALC_HTTP_AUDIENCE and ALC_HTTP_KEYS_URL"
            raise HomeUnusable(f"tokens of an issuer need {names}: set all three, or none")
        for name, url in (("ALC_HTTP_ISSUER", issuer), ("ALC_HTTP_KEYS_URL", keys_url)):
            parts = urlsplit(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL_NAMES):
                raise HomeUnusable(f"{name}={url!r} is no https address: who answers there decides who may call")
        return cls(issuer, audience, keys_url)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`hosts`: names by which clients may call the server, beside those of this machine; a port is not compared.
    `origins`: of web pages that may call it. `issuer`: whose JWTs are accepted, or None."""

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    issuer: Issuer | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "HttpSettings":
        hosts = _words(environ.get("ALC_HTTP_HOSTS", ""))
        for host in hosts:
            if "/" in host or host != host.strip("[]:"):
                raise HomeUnusable(f"ALC_HTTP_HOSTS names {host!r}, which is no name of a host: write alc.example.com")
        origins = _words(environ.get("ALC_HTTP_ORIGINS", ""))
        for origin in origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise HomeUnusable(
                    f"ALC_HTTP_ORIGINS names {origin!r}, which is no origin: write https://app.example.com"
                )
        return cls(hosts, origins, Issuer.from_env(environ))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


def refuse_open_door(address: Address, settings: HttpSettings, *, asks_who: bool) -> None:
    """Raises Refused where others than the user of this machine could use the server, and it asks for no token. A name
    in `hosts` says that a proxy brings them."""
    if asks_who:
        return
    if not address.is_local:
        raise Refused(
            f"{address} can be reached from other machines, and this server would ask nobody for a token: "
            f"make tokens with alc token new NAME, or listen on 127.0.0.1:{address.port}"
        )
    if strangers := [host for host in settings.hosts if host not in _LOCAL_NAMES]:
        raise Refused(
            f"ALC_HTTP_HOSTS names {strangers[0]}, so others call this server, and it would ask nobody for a token: "
            "make tokens with alc token new NAME, or unset ALC_HTTP_HOSTS"
        )
