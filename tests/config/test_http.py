"""Addresses, and who may call a server over HTTP."""

import pytest

from algocline_mcp.config.http import Address, HttpLimits, HttpSettings, refuse_open_door
from algocline_mcp.errors import HomeUnusable, Refused

ADDRESSES = [  # as written, as shown, whether this machine alone reaches it
    (":8080", "127.0.0.1:8080", True),
    ("127.0.0.1:0", "127.0.0.1:0", True),
    ("127.8.8.8:1", "127.8.8.8:1", True),
    ("localhost:80", "localhost:80", True),
    ("[::1]:80", "[::1]:80", True),
    ("0.0.0.0:80", "0.0.0.0:80", False),
    ("[::]:80", "[::]:80", False),
    ("192.168.0.7:65535", "192.168.0.7:65535", False),
    ("alc.example.com:80", "alc.example.com:80", False),
    ("localhost.example.com:80", "localhost.example.com:80", False),
]


@pytest.mark.parametrize(("text", "shown", "is_local"), ADDRESSES)
def test_address_is_read_and_judged(text: str, shown: str, is_local: bool) -> None:
    address = Address.parse(text)

    assert (str(address), address.is_local) == (shown, is_local)


@pytest.mark.parametrize("text", ["", "8080", ":", "x:", ":65536", ":-1", "::1:80", "http://x:80/", ":８０", ":1e3"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "hosts", "asks_who", "is_refused"),
    [
        (":80", (), False, False),
        (":80", ("localhost",), False, False),
        (":80", ("alc.example.com",), False, True),
        ("0.0.0.0:80", (), False, True),
        ("[::]:80", (), False, True),
        ("0.0.0.0:80", (), True, False),
        (":80", ("alc.example.com",), True, False),
    ],
)
def test_strangers_reach_no_server_that_asks_nobody(
    text: str, hosts: tuple[str, ...], asks_who: bool, is_refused: bool
) -> None:
    def refuse() -> None:
        refuse_open_door(Address.parse(text), HttpSettings(hosts), asks_who=asks_who)

    if is_refused:
        with pytest.raises(Refused, match="would ask nobody for a token"):
            refuse()
    else:
        refuse()


def test_settings_and_limits_are_read_from_the_environment() -> None:
    settings = HttpSettings.from_env(
        {"ALC_HTTP_HOSTS": "Alc.example.com, other", "ALC_HTTP_ORIGINS": "https://App.example.com"}
    )

    assert settings == HttpSettings(("alc.example.com", "other"), ("https://app.example.com",))
    assert HttpLimits.from_env({"ALC_HTTP_DRAIN_S": "0.5"}).drain_s == 0.5


@pytest.mark.parametrize(
    "environ",
    [
        {"ALC_HTTP_HOSTS": "https://alc.example.com"},
        {"ALC_HTTP_HOSTS": "[::1]:80"},
        {"ALC_HTTP_ORIGINS": "app.example.com"},
        {"ALC_HTTP_ORIGINS": "https://app.example.com/"},
        {"ALC_HTTP_ORIGINS": "*"},
    ],
)
def test_unusable_setting_names_its_variable(environ: dict[str, str]) -> None:
    with pytest.raises(HomeUnusable, match=next(iter(environ))):
        HttpSettings.from_env(environ)
