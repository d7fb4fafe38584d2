"""What the agent needs to know of a container, read from Docker's inspection. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarmkeep.errors import Unavailable
from swarmkeep.plan.specification import mount_text

DEFAULT_STOP_TIMEOUT_S = 10.0
"""What Docker grants a container that sets nothing; a Swarm service's stop_grace_period is not in the inspection."""

_ANONYMOUS_VOLUME = re.compile(r"[0-9a-f]{64}")
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container as Docker shows it."""

    id: str
    name: str
    labels: Mapping[str, str]
    pid: int
    """Of its first process, in the node's namespace; 0 when it does not run."""
    running: bool
    image_id: str
    """Digest of the image's configuration."""
    image_ref: str
    """The image as the user named it."""
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    mounts: tuple[str, ...]
    """As plan.specification.mount_text writes them."""
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    tty: bool
    networks: tuple[str, ...]
    upper_dir: Path
    """The writable layer: overlay2's upper directory."""
    stop_timeout_s: float
    exit_code: int | None
    """None while it has never ended."""
    oom_killed: bool
    restart_policy: str
    created_at: datetime
    settled: tuple[str, ...]
    """As plan.specification has it."""
    raw: Mapping[str, Any]
    """The inspection itself."""

    @property
    def started_at(self) -> datetime | None:
        """When its process last came up; None when it never did."""
        return _moment(self.raw["State"].get("StartedAt"))

    @property
    def ended_at(self) -> datetime | None:
        """When its process last ended; None while it runs, and when it never did."""
        return None if self.running else _moment(self.raw["State"].get("FinishedAt"))

    def has_ended_since(self, moment: datetime) -> bool:
        """Whether a process of it that came up at `moment` or later has ended. Earlier ends are of earlier starts."""
        return self.exit_code is not None and self.ended_at is not None and self.ended_at >= moment

    @property
    def start_error(self) -> str:
        """Why its last start failed; empty when it did not."""
        return str(self.raw["State"].get("Error") or "")

    @property
    def failed_to_start(self) -> bool:
        """Whether the runtime refused or failed to create it: it will never run."""
        return not self.running and self.exit_code is None and bool(self.raw["State"].get("ExitCode"))


def read_facts(raw: Mapping[str, Any]) -> ContainerFacts:
    """Reads what GET /containers/ID/json answers. Raises Unavailable when it is not what Docker documents."""
    try:
        return _read(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable(f"Docker described a container in a way that is not understood: {error!r}") from error


def _read(raw: Mapping[str, Any]) -> ContainerFacts:
    config, state, host = raw["Config"], raw["State"], raw["HostConfig"]
    ended = _moment(state.get("FinishedAt")) is not None
    timeout = config.get("StopTimeout")
    return ContainerFacts(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        labels=dict(config.get("Labels") or {}),
        pid=int(state.get("Pid") or 0),
        running=bool(state["Running"]),
        image_id=raw["Image"],
        image_ref=config.get("Image") or "",
        entrypoint=_words(config.get("Entrypoint")),
        command=_words(config.get("Cmd")),
        env=_words(config.get("Env")),
        working_dir=config.get("WorkingDir") or "",
        user=config.get("User") or "",
        mounts=_mounts(raw, host),
        cap_add=_words(host.get("CapAdd")),
        cap_drop=_words(host.get("CapDrop")),
        tty=bool(config.get("Tty")),
        networks=tuple(sorted((raw.get("NetworkSettings") or {}).get("Networks") or {})),
        upper_dir=Path(((raw.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir") or "/nonexistent"),
        stop_timeout_s=DEFAULT_STOP_TIMEOUT_S if timeout is None else float(timeout),
        exit_code=int(state["ExitCode"]) if ended and not state["Running"] else None,
        oom_killed=bool(state.get("OOMKilled")),
        restart_policy=(host.get("RestartPolicy") or {}).get("Name") or "no",
        created_at=read_docker_time(raw["Created"]),
        settled=_settled(raw, host),
        raw=raw,
    )


def _moment(text: str | None) -> datetime | None:
    """Docker writes the year 1 for "never"."""
    return None if not text or text.startswith("0001") else read_docker_time(text)


def read_docker_time(text: str) -> datetime:
    """Docker's RFC 3339 with nanoseconds. Raises ValueError."""
    return datetime.fromisoformat(_FRACTION.sub(r".\1", text).replace("Z", "+00:00")).astimezone(UTC)


def _mounts(raw: Mapping[str, Any], host: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    for mount in raw.get("Mounts") or ():
        kind = mount["Type"]
        source = mount.get("Name", "") if kind == "volume" else mount.get("Source", "")
        if kind == "tmpfs" or _ANONYMOUS_VOLUME.fullmatch(source):
            # Docker makes up another name for every container.
            source = ""
        found.append(mount_text(kind, source, mount["Destination"], not mount.get("RW", True)))
    found.extend(mount_text("tmpfs", "", target, False) for target in host.get("Tmpfs") or ())
    return tuple(sorted(set(found)))


def _settled(raw: Mapping[str, Any], host: Mapping[str, Any]) -> tuple[str, ...]:
    """What the process got at its start: changed in the service, it would have no effect on one that goes on."""
    found = ["init"] if host.get("Init") else []
    found += ["read-only"] if host.get("ReadonlyRootfs") else []
    found += [f"ulimit {item['Name']}={item['Soft']}:{item['Hard']}" for item in host.get("Ulimits") or ()]
    found += [f"sysctl {name}={value}" for name, value in (host.get("Sysctls") or {}).items()]
    found += [f"group {name}" for name in host.get("GroupAdd") or ()]
    # One with another content has another id: the Swarm never changes them in place.
    found += [f"secret or config {name}" for name in raw.get("SwarmFiles") or ()]
    return tuple(sorted(found))


def _words(value: Any) -> tuple[str, ...]:
    """Docker writes null for an empty list, and old images a plain string for a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value or ())
