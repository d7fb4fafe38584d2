"""Tells the shim in advance which containers to ask about; read by swarmkeep-runtime at every create."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from swarmkeep.agent.journal import write_atomically
from swarmkeep.agent.runtime.isolation import LABEL as TRIAL
from swarmkeep.model.policy import Fencing, Otherwise, Policy

TRIAL_LIMIT_S = 2.0
"""How long the shim waits for an agent about a trial."""


def selector_lines(policies: Iterable[Policy]) -> list[str]:
    """One line for each selector: `service NAME`, `stack NAME`, `container NAME` or `label K=V`, TAB, `Hold` or
    `Fresh`, TAB, seconds.

    What the shim does when no agent answers within those seconds: under strict fencing always hold, since nobody can
    know then whether another copy runs. Several labels of one selector give one line: the shim may ask too often,
    never too seldom, and the agent decides.
    """
    lines = set()
    for policy in policies:
        strict = policy.fencing is Fencing.STRICT
        mode = "Hold" if strict or policy.restore.otherwise is Otherwise.HOLD else "Fresh"
        tail = f"\t{mode}\t{policy.restore.hold_limit.total_seconds():g}"
        selector = policy.selector
        if selector.service is not None:
            lines.add(f"service {selector.service}{tail}")
        elif selector.stack is not None:
            lines.add(f"stack {selector.stack}{tail}")
        elif selector.container is not None:
            lines.add(f"container {selector.container}{tail}")
        elif selector.wanted_labels is not None:
            key, value = sorted(selector.wanted_labels.items())[0]
            lines.add(f"label {key}={value}{tail}")
        else:
            key, value = sorted((selector.match_labels or {}).items())[0]
            lines.add(f"label {key}={value}{tail}")
            lines.update(f"service {service}{tail}" for service in policy.services)
    # A line break or a tab inside a name would be another line or field; Docker allows neither in names.
    return sorted(line for line in lines if line.count("\t") == 2 and "\n" not in line and "\r" not in line)


class SelectorsFile:
    """Keeps the file as the policies say; it survives a reboot, so that a node asks from its first task on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, policies: Iterable[Policy]) -> None:
        """Writes the file when it has changed. Raises StorageFull."""
        lines = selector_lines(policies)
        if lines:
            # Containers in which versions are tried: they never start on their own.
            lines.append(f"label {TRIAL}=yes\tHold\t{TRIAL_LIMIT_S:g}")
        data = "".join(line + "\n" for line in lines).encode()
        try:
            current: bytes | None = self._path.read_bytes()
        except FileNotFoundError:
            current = None
        if data != current:
            write_atomically(self._path, data)
