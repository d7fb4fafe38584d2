"""Kubeconfig files, as kubectl reads them: which API, as whom, in which namespace. Used by the command."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from swarmkeep.errors import InvalidObject

SERVERS_EXTENSION = "servers.swarmkeep.dev"
"""An extension of a cluster entry whose `servers` lists further URLs of the same API; kubectl overlooks it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to be believed, and whom to believe: PEM texts, and a bearer token for a real kube-apiserver."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    token: str | None = None
    verify: bool = True
    """False believes any server; only a kubeconfig that says so in as many words gets it."""
    server_name: str | None = None
    """The name that the server's certificate must have, when it is not that of the URL."""


@dataclass(frozen=True, slots=True)
class Context:
    """One context of a kubeconfig with everything that it refers to."""

    name: str
    servers: tuple[str, ...]
    namespace: str
    credentials: Credentials


def kubeconfig_paths(explicit: Path | None, environment: Mapping[str, str] | None = None) -> list[Path]:
    """The files to read: `explicit`, else those in $KUBECONFIG, else ~/.kube/config."""
    environment = os.environ if environment is None else environment
    if explicit is not None:
        return [explicit]
    listed = [Path(entry) for entry in environment.get("KUBECONFIG", "").split(os.pathsep) if entry]
    return listed or [Path(environment.get("HOME") or "~").expanduser() / ".kube" / "config"]


def load_context(paths: Sequence[Path], name: str | None = None, *, must_exist: bool = False) -> Context:
    """The context `name`, by default the current one, of the merged files: for each entry the first file wins.

    Files that are not there are passed over unless `must_exist`. Raises InvalidObject saying which file or entry is
    wrong or missing.
    """
    merged = _Merged()
    read = [path for path in paths if merged.take(path, must_exist)]
    if not read:
        where = ", ".join(str(path) for path in paths)
        raise InvalidObject(
            f"there is no kubeconfig: looked for {where}. Name one with --kubeconfig or KUBECONFIG; "
            "`swarmkeep pki kubeconfig` makes one"
        )
    name = name or merged.current
    if not name:
        raise InvalidObject(f"no current-context in {read[0]}: name one with --context")
    context, origin = merged.entry("contexts", "context", name)
    cluster_name = _text(context, "cluster", f"{origin}: context {name}", required=True)
    cluster, cluster_origin = merged.entry("clusters", "cluster", cluster_name)
    user: Mapping[str, Any] = {}
    user_origin = origin
    if user_name := _text(context, "user", f"{origin}: context {name}"):
        user, user_origin = merged.entry("users", "user", user_name)
    return Context(
        name=name,
        servers=_servers(cluster, f"{cluster_origin}: cluster {cluster_name}"),
        namespace=_text(context, "namespace", f"{origin}: context {name}") or "default",
        credentials=_credentials(cluster, cluster_origin, user, user_origin),
    )


class _Merged:
    """Entries of several kubeconfigs with the file that each came from: relative paths count from there."""

    def __init__(self) -> None:
        self.current = ""
        self._entries: dict[tuple[str, str], tuple[Any, Path]] = {}

    def take(self, path: Path, must_exist: bool) -> bool:
        """Adds a file; False when there is none."""
        try:
            text = path.read_text()
        except FileNotFoundError:
            if must_exist:
                raise InvalidObject(f"there is no kubeconfig {path}") from None
            return False
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidObject(f"cannot read the kubeconfig {path}: {error}") from None
        try:
            document = yaml.load(text, _Loader)  # noqa: S506 - a safe loader, see below
        except yaml.YAMLError as error:
            raise InvalidObject(f"{path} is not YAML: {error}") from None
        if document is None:
            return True
        if not isinstance(document, dict):
            raise InvalidObject(f"{path} is no kubeconfig: it must be a mapping")
        self.current = self.current or str(document.get("current-context") or "")
        for section in ("contexts", "clusters", "users"):
            for entry in document.get(section) or ():
                if not isinstance(entry, dict) or "name" not in entry:
                    raise InvalidObject(f"{path}: an entry of {section} has no name")
                self._entries.setdefault((section, str(entry["name"])), (entry, path))
        return True

    def entry(self, section: str, field: str, name: str) -> tuple[Mapping[str, Any], Path]:
        """The entry and its file. Raises InvalidObject listing the names that there are."""
        found = self._entries.get((section, name))
        if found is None:
            names = ", ".join(sorted(n for s, n in self._entries if s == section)) or "none"
            raise InvalidObject(f"the kubeconfig has no {field} {name!r}; it has {names}")
        body = found[0].get(field) or {}
        if not isinstance(body, dict):
            raise InvalidObject(f"{found[1]}: {field} {name} must be a mapping")
        return body, found[1]


# libyaml's parser, where it is built in, is ten times faster and as safe.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _servers(cluster: Mapping[str, Any], where: str) -> tuple[str, ...]:
    servers = [_text(cluster, "server", where, required=True)]
    for extension in cluster.get("extensions") or ():
        if isinstance(extension, dict) and extension.get("name") == SERVERS_EXTENSION:
            further = (extension.get("extension") or {}).get("servers") or ()
            servers += [str(server) for server in further if server not in servers]
    for server in servers:
        if not server.startswith(("https://", "http://")):
            raise InvalidObject(f"{where}: server {server!r} must begin with https://")
    return tuple(servers)


def _credentials(
    cluster: Mapping[str, Any], cluster_file: Path, user: Mapping[str, Any], user_file: Path
) -> Credentials:
    for method in ("exec", "auth-provider"):
        if method in user:
            raise InvalidObject(
                f"{user_file}: users with {method} are not supported: use a client certificate or a token"
            )
    token = _text(user, "token", str(user_file))
    if not token and (path := _text(user, "tokenFile", str(user_file))):
        token = _read(user_file.parent / path).strip()
    certificate = _pem(user, "client-certificate", user_file)
    key = _pem(user, "client-key", user_file)
    if bool(certificate) != bool(key):
        raise InvalidObject(f"{user_file}: client-certificate and client-key go together")
    return Credentials(
        ca=_pem(cluster, "certificate-authority", cluster_file),
        certificate=certificate,
        key=key,
        token=token or None,
        verify=cluster.get("insecure-skip-tls-verify") is not True,
        server_name=_text(cluster, "tls-server-name", str(cluster_file)) or None,
    )


def _pem(entry: Mapping[str, Any], field: str, file: Path) -> str | None:
    """The text of `<field>-data` (base64), else of the file that `<field>` names."""
    if data := _text(entry, f"{field}-data", str(file)):
        try:
            return base64.b64decode(data, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidObject(f"{file}: {field}-data is not base64 of a PEM text") from None
    if path := _text(entry, field, str(file)):
        return _read(file.parent / path)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidObject(f"cannot read {path}, which the kubeconfig names: {error}") from None


def _text(entry: Mapping[str, Any], field: str, where: str, *, required: bool = False) -> str:
    value = entry.get(field)
    if value is None or value == "":
        if required:
            raise InvalidObject(f"{where} has no {field}")
        return ""
    if not isinstance(value, str):
        raise InvalidObject(f"{where}: {field} must be a text")
    return value
