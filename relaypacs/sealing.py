"""Passwords and private keys at rest, sealed with keys drawn from SECRET_KEY: a copy of the database opens nothing."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class SealBroken(Exception):
    """It was sealed with a key that is not known any more: the secret must be typed again."""


def _fernet(secret_key: str) -> Fernet:
    key = hashlib.scrypt(secret_key.encode(), salt=b"relaypacs.sealing", n=2**12, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))


def _keys() -> MultiFernet:
    return MultiFernet([_fernet(str(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def seal(secret: str) -> str:
    """The secret as text that only this installation can open; "" stays ""."""
    return _keys().encrypt(secret.encode()).decode("ascii") if secret else ""


def unseal(sealed: str) -> str:
    """Raises SealBroken where SECRET_KEY has changed without SECRET_KEY_FALLBACKS."""
    try:
        return _keys().decrypt(sealed.encode("ascii")).decode() if sealed else ""
    except (InvalidToken, ValueError) as error:
        raise SealBroken from error
