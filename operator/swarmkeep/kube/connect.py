"""Makes clients: for the daemons from their settings, for the command from a kubeconfig."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmkeep.config.settings import ApiSettings
from swarmkeep.errors import InvalidObject
from swarmkeep.kube.client import Client
from swarmkeep.kube.kubeconfig import Context, Credentials


def client_from_settings(api: ApiSettings, certificate: Path, key: Path, *, field_manager: str) -> Client:
    """The client of a daemon, with its certificate and key. Raises InvalidObject naming the file that is wrong."""
    tls = None
    if any(server.startswith("https://") for server in api.servers):
        tls = _trust_only(api.ca)
        _present(tls, certificate, key)
    return Client(api.servers, tls, timeout_s=api.timeout.total_seconds(), field_manager=field_manager)


def client_from_context(context: Context, *, timeout_s: float, field_manager: str) -> Client:
    """The client of a person: it gives up on servers that cannot be reached after trying each once."""
    credentials = context.credentials
    tls = _tls_of(credentials, context) if any(s.startswith("https://") for s in context.servers) else None
    return Client(
        context.servers,
        tls,
        timeout_s=timeout_s,
        field_manager=field_manager,
        token=credentials.token,
        server_name=credentials.server_name,
        insist=False,
    )


def _tls_of(credentials: Credentials, context: Context) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cadata=credentials.ca)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidObject(
            f"the certificate authority of context {context.name} is no PEM certificate: {error}"
        ) from None
    if not credentials.verify:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if credentials.certificate and credentials.key:
        with _as_file(credentials.certificate) as certificate, _as_file(credentials.key) as key:
            _present(tls, certificate, key)
    return tls


def _trust_only(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise InvalidObject(f"cannot use {ca} as certificate authority: {error}") from None


def _present(tls: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        if not os.access(path, os.R_OK):
            raise InvalidObject(
                f"cannot read {path}, the client certificate or its key; is it there, are we allowed to?"
            )
    try:
        tls.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise InvalidObject(f"{certificate} and {key} are no certificate with its key: {error}") from None


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal and wait for ever.
    raise ValueError("the key is encrypted")


@contextmanager
def _as_file(pem: str) -> Iterator[Path]:
    """OpenSSL reads certificates only from files. They are readable by us alone, and gone when the block ends."""
    with tempfile.NamedTemporaryFile("w", prefix="swarmkeep-", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        yield Path(file.name)
