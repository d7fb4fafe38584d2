"""The keys that a StorageLocation names, as this node has them, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmkeep.store.key_file import load_keyring
from swarmkeep.store.keyring import Keyring
from swarmkeep.store.vault import Rewrapped


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one location."""

    keyring: Keyring | None
    """None when the location is not encrypted."""
    exposed: tuple[str, ...] = ()
    """A sentence for each key file that others than its owner can read."""


def read_keys(spec: Mapping[str, Any]) -> Keys:
    """Reads the key files that the location's spec names. Raises KeyFileUnusable."""
    encryption = spec.get("encryption")
    if encryption is None:
        return Keys(None)
    previous = [Path(path) for path in encryption.get("previousKeyFiles") or ()]
    return Keys(*load_keyring(Path(encryption["keyFile"]), previous))


def key_report(keys: Keys, rewrapped: Rewrapped | None) -> dict[str, Any]:
    """What the Node object says of the keys. `rewrapped`: what was found when these keys were last rewrapped with."""
    if keys.keyring is None:
        return {}
    report: dict[str, Any] = {"keyID": keys.keyring.current.id}
    said = list(keys.exposed)
    if rewrapped is not None:
        report["left"] = rewrapped.left
        if rewrapped.problem:
            said.append(rewrapped.problem)
    if said:
        report["message"] = "; ".join(said)
    return {"encryption": report}
