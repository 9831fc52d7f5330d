"""Who calls: bearer tokens of this home and JWTs of an issuer, for the SDK's resource server.

Contract. `Verifier.verify_token` returns the principal of a valid token, or None for any other, whatever is wrong with
it, within _KEYS_S. A principal of a JWT is `jwt:` and its `sub`, so nobody becomes the principal of a token whose name
an issuer happens to use. Nothing of a token is logged or repeated.
"""

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier

from algocline_mcp.config.home import Home
from algocline_mcp.config.http import HttpSettings, Issuer
from algocline_mcp.http.tokens import PREFIX, Tokens, principals_of
from algocline_mcp.server.tool_call.rare_warning import RareWarning

# Signatures alone: with a shared secret whoever verifies can sign, and `none` is no algorithm here.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_REQUIRED = ["exp", "iss", "aud", "sub"]
_LEEWAY_S = 30.0  # between the clocks of issuer and server
_FETCH_S = 5.0
_KEYS_S = 8.0
_TOKEN_CHARS = 16 * 1024
_SUBJECT_CHARS = 200

logger = logging.getLogger(__name__)


def asks_who(home: Home, settings: HttpSettings) -> bool:
    """Whether callers have to say who they are: somebody has a token, or there is an issuer. Decided once, at the
    start: a server that asks goes on asking when the last token is removed."""
    return settings.issuer is not None or bool(principals_of(home))


class Verifier(TokenVerifier):
    def __init__(self, home: Home, issuer: Issuer | None) -> None:
        self._tokens = Tokens(home)
        self._jwt = None if issuer is None else JwtVerifier(issuer)

    async def verify_token(self, token: str) -> AccessToken | None:
        if token.startswith(PREFIX):
            principal = self._tokens.principal_of(token)
        else:
            principal = None if self._jwt is None else await self._jwt.principal_of(token)
        if principal is None:
            return None
        return AccessToken(token="", client_id=principal, scopes=[])  # the token itself is needed no more


class JwtVerifier:
    def __init__(self, issuer: Issuer, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._outage = RareWarning(logger, clock_s)
        self._keys = jwt.PyJWKClient(issuer.keys_url, timeout=_FETCH_S, ssl_context=ssl.create_default_context())
        self._fetches = anyio.CapacityLimiter(2)  # it holds a lock while it fetches: more threads would wait

    async def principal_of(self, token: str) -> str | None:
        if len(token) > _TOKEN_CHARS:
            return None
        with anyio.move_on_after(_KEYS_S):
            return await anyio.to_thread.run_sync(self._verified, token, limiter=self._fetches, abandon_on_cancel=True)
        return None

    def _verified(self, token: str) -> str | None:
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                issuer=self._issuer.issuer,
                audience=self._issuer.audience,
                leeway=_LEEWAY_S,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWKClientConnectionError:
            self._outage.note(f"no keys at {self._issuer.keys_url}: a token of this issuer was refused")
            return None
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        subject = claims["sub"]
        is_usable = isinstance(subject, str) and 0 < len(subject) <= _SUBJECT_CHARS and subject.isprintable()
        return f"jwt:{subject}" if is_usable else None
