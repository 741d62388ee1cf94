"""Which names look like secrets, and values masked for people's eyes.

Used wherever Cube shows an environment: tables, JSON, differences, logs. It judges by names (and
by passwords inside URLs); it never encrypts, stores or forgets anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "********"

_ANYWHERE = ("password", "passwd", "passphrase", "secret", "token", "credential", "apikey")
_AS_A_WORD = {"key", "keys", "pass", "pwd", "pw", "auth", "salt", "cert", "dsn", "jwt", "pin"}
_LAST = ("key", "keys")  # ACCESSKEY, SIGNINGKEYS
_NO_SECRETS = {"monkey", "turkey", "hotkey", "hotkeys", "whiskey", "jockey", "hockey", "donkey"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_URL_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]+(?=@)")


def is_secret_name(name: str) -> bool:
    """Does a variable of this name probably hold a secret?"""
    folded = name.lower()
    if any(word in folded for word in _ANYWHERE):
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    return any(
        word in _AS_A_WORD or (word.endswith(_LAST) and word not in _NO_SECRETS) for word in words
    )


def mask_value(name: str, value: str) -> str:
    """The value as it may be shown: a secret whole, else only a password within a URL, masked.

    An empty value stays empty, so that one can see that nothing was set.
    """
    if is_secret_name(name):
        return MASK if value else ""
    return _URL_PASSWORD.sub(rf"\1:{MASK}", value)


def masked(
    environment: Mapping[str, str] | Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """The (name, value) pairs of an environment in their order, secrets masked."""
    pairs = environment.items() if isinstance(environment, Mapping) else environment
    return tuple((name, mask_value(name, value)) for name, value in pairs)
