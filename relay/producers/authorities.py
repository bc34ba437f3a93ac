"""Whom TLS trusts: certifi's list, or instead of it what ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names.

The two variables are OpenSSL's, shared by all programs of a host. A file that is missing or holds no certificate would
otherwise be told as any kind of error; a folder that is missing, as no error at all until every call fails.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

import httpx

from relay.errors import ConfigurationError

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # the names by which OpenSSL finds a certificate in a folder
_HINT = "docs/network.md says how a company's authority is added to the public ones."


def trusting_context() -> ssl.SSLContext:
    """Read once, which takes some 17 ms.

    Raises ConfigurationError, naming variable and file, where the one that counts holds no certificates.
    """
    if file := os.environ.get(FILE):
        return _of_file(file)
    if folders := os.environ.get(FOLDER):
        _require_folders(folders)
    return httpx.create_ssl_context()


def _of_file(file: str) -> ssl.SSLContext:
    path = Path(file)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading may never end, and is done twice
            raise ConfigurationError(f"{FILE}: {file} is no regular file, and it is read more than once", _HINT)
        path.read_bytes()  # OpenSSL's own errors do not say what is wrong with it
        return httpx.create_ssl_context()
    except ssl.SSLError:
        raise ConfigurationError(
            f"{FILE}: {file} holds no certificate in PEM form",
            f"One in DER form is turned by: openssl x509 -inform der -in {file} -out NEW. {_HINT}",
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{FILE}: {file} cannot be read: {error.strerror}", _HINT) from None


def _require_folders(folders: str) -> None:
    found = False
    for folder in filter(None, folders.split(os.pathsep)):
        try:
            found = any(map(_HASHED.fullmatch, os.listdir(folder))) or found
        except OSError as error:
            raise ConfigurationError(f"{FOLDER}: {folder} cannot be read: {error.strerror}", _HINT) from None
    if not found:
        raise ConfigurationError(
            f"{FOLDER}: {folders} holds no certificate under a name that OpenSSL finds (1a2b3c4d.0)",
            f"Run: openssl rehash {folders}. {_HINT}",
        )
