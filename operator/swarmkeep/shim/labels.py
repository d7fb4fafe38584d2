"""Is this a container that a policy may protect? Docker's own files against the selectors that the agent wrote."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

SERVICE = "com.docker.swarm.service.name"
STACK = "com.docker.stack.namespace"


class Selector(NamedTuple):
    """One line of the selectors file."""

    kind: str
    """`service`, `stack`, `container` or `label`."""
    value: str
    """A name, or `KEY=VALUE` for a label."""
    hold: bool
    """What to do when no agent answers: True fails the create, False starts fresh."""
    limit_s: float
    """How long to wait for an agent."""


class Container(NamedTuple):
    """What the shim needs to know of a Docker container."""

    name: str
    labels: dict[str, str]
    stop_signal: str
    """As configured: a name, a number, or empty for Docker's default."""


def read_selectors(path: str) -> list[Selector]:
    """Reads the selectors; a missing file means that nothing is protected.

    A line that makes no sense counts as holding for a minute under its own words: it was meant to protect something.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    selectors = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        what, _, rest = line.partition("\t")
        mode, _, limit = rest.partition("\t")
        kind, _, value = what.partition(" ")
        try:
            limit_s = min(max(float(limit), 0.0), 3600.0)
        except ValueError:
            limit_s = 60.0
        selectors.append(Selector(kind, value, mode != "Fresh", limit_s))
    return selectors


def read_container(docker_root: str, container_id: str) -> Container | None:
    """Reads Docker's own record of a container; None when Docker has none of that id.

    Raises OSError or ValueError when there is a record that cannot be read.
    """
    path = os.path.join(docker_root, "containers", container_id, "config.v2.json")
    try:
        with open(path, "rb") as file:
            record: Any = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} is no JSON object")
    config = record.get("Config") or {}
    labels = {str(key): str(value) for key, value in (config.get("Labels") or {}).items()}
    return Container(str(record.get("Name", "")).lstrip("/"), labels, str(config.get("StopSignal") or ""))


def matching(container: Container, selectors: list[Selector]) -> list[Selector]:
    """The selectors that match. One too many costs a question; one too few would be a silent cold start."""
    return [selector for selector in selectors if _matches(container, selector)]


def _matches(container: Container, selector: Selector) -> bool:
    if selector.kind == "service":
        return container.labels.get(SERVICE) == selector.value
    if selector.kind == "stack":
        return container.labels.get(STACK) == selector.value
    if selector.kind == "container":
        return container.name == selector.value
    key, separator, value = selector.value.partition("=")
    if selector.kind == "label" and separator:
        return container.labels.get(key) == value
    # Written by a newer agent: ask it.
    return True


def when_away(selectors: list[Selector]) -> tuple[bool, float]:
    """What to do without an agent when several selectors match: hold wins, and then the longest limit."""
    holding = [selector for selector in selectors if selector.hold]
    return bool(holding), max(selector.limit_s for selector in holding or selectors)
