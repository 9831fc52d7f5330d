"""JWTs of an issuer, whose keys come from a real server."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from algocline_mcp.config.home import Home
from algocline_mcp.config.http import HttpSettings, Issuer
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.http.identity import JwtVerifier, Verifier, asks_who
from algocline_mcp.http.tokens import new_token
from algocline_mcp.server.tool_call.rare_warning import PAUSE_S

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://issuer.example", "https://alc.example.com/mcp"
KEY, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
SOON = 600


class _Keys(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        keys = [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "one", "use": "sig"},
            json.loads(jwt.algorithms.ECAlgorithm.to_jwk(CURVE.public_key())) | {"kid": "two"},
        ]
        body = json.dumps({"keys": keys}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return None


@pytest.fixture(scope="module")
def keys_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Keys)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    thread.join()
    server.server_close()


def signed(key: Any = KEY, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": now + SOON, "iat": now}
    payload = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid})


def unsigned(**header: str) -> str:
    parts = [{"typ": "JWT", "kid": "one", **header}, jwt.decode(signed(), options={"verify_signature": False})]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def forged() -> str:
    """Signed with the public key as a shared secret, which a reader that trusts the header takes for right."""
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = unsigned(alg="HS256")
    signature = hmac.digest(public, content.encode(), "sha256")
    return f"{content}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def principal_of(token: str, home: Path, keys_url: str) -> str | None:
    verifier = Verifier(Home(home), Issuer(ISSUER, AUDIENCE, keys_url))
    access = await verifier.verify_token(token)
    return None if access is None else access.client_id


async def test_token_of_the_issuer_names_its_subject(tmp_path: Path, keys_url: str) -> None:
    tokens = [signed(), signed(CURVE, "two", "ES256", sub="ben", aud=["x", AUDIENCE]), signed(exp=int(time.time()) - 1)]

    assert [await principal_of(token, tmp_path, keys_url) for token in tokens] == ["jwt:anna", "jwt:ben", "jwt:anna"]


async def test_any_other_token_names_nobody(tmp_path: Path, keys_url: str) -> None:
    now = int(time.time())
    tokens = {
        "expired": signed(exp=now - SOON),
        "not yet": signed(nbf=now + SOON),
        "of another issuer": signed(iss="https://other.example"),
        "for another server": signed(aud="https://other.example/mcp"),
        "of another key": signed(OTHER),
        "of an unknown key": signed(kid="three"),
        "of the other key's name": signed(kid="two"),
        "without a signature": f"{unsigned(alg='none')}.",
        "with a shared secret": forged(),
        "without an end": signed(exp=None),
        "without an issuer": signed(iss=None),
        "without an audience": signed(aud=None),
        "of nobody": signed(sub=None),
        "of the user": signed(sub=""),
        "of an unprintable subject": signed(sub="anna\n"),
        "of a long subject": signed(sub="a" * 201),
        "cut": signed()[:-4],
        "too long": signed(pad="a" * 20_000),
        "none": "",
        "no token": "a.b.c",
        "not ASCII": "é.é.é",
        "a token of the home that was not made": "alc_" + "A" * 43,
    }

    assert {what: await principal_of(token, tmp_path, keys_url) for what, token in tokens.items()} == dict.fromkeys(
        tokens
    )


async def test_issuer_whose_keys_cannot_be_had_opens_no_door_and_closes_none(tmp_path: Path) -> None:
    own = new_token(Home(tmp_path), "anna")
    nowhere = "http://127.0.0.1:1/keys"

    assert await principal_of(signed(), tmp_path, nowhere) is None
    assert await principal_of(own, tmp_path, nowhere) == "anna"


async def test_issuer_whose_keys_cannot_be_had_writes_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    verifier = JwtVerifier(Issuer(ISSUER, AUDIENCE, "http://127.0.0.1:1/keys"), lambda: now_s)
    for _ in range(20):
        assert await verifier.principal_of(signed()) is None
    early = list(caplog.messages)
    now_s = PAUSE_S
    await verifier.principal_of(signed())

    sentence = "no keys at http://127.0.0.1:1/keys: a token of this issuer was refused"
    assert early == [sentence]
    assert caplog.messages == [sentence, f"{sentence} (20 times since the last such line)"]


def test_server_asks_who_calls_as_soon_as_somebody_has_a_token(tmp_path: Path) -> None:
    home = Home(tmp_path)

    before = asks_who(home, HttpSettings())
    new_token(home, "anna")

    assert (before, asks_who(home, HttpSettings())) == (False, True)
    assert asks_who(Home(tmp_path / "x"), HttpSettings(issuer=Issuer(ISSUER, AUDIENCE, "https://x"))) is True


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"ALC_HTTP_ISSUER": ISSUER}, "set all three"),
        ({"ALC_HTTP_ISSUER": ISSUER, "ALC_HTTP_AUDIENCE": "x", "ALC_HTTP_KEYS_URL": "http://k.example"}, "no https"),
        ({"ALC_HTTP_ISSUER": "x", "ALC_HTTP_AUDIENCE": "x", "ALC_HTTP_KEYS_URL": "https://k.example"}, "no https"),
        ({"ALC_HTTP_ISSUER": ISSUER, "ALC_HTTP_AUDIENCE": "x", "ALC_HTTP_KEYS_URL": "file:///k"}, "no https"),
    ],
)
def test_issuer_that_cannot_be_trusted_is_refused(environ: dict[str, str], word: str) -> None:
    with pytest.raises(HomeUnusable, match=word):
        HttpSettings.from_env(environ)
