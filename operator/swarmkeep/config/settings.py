"""Settings of the daemons: one small dataclass for each section of /etc/swarmkeep/config.yaml."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from swarmkeep.errors import InvalidObject

DEFAULT_PATH = Path("/etc/swarmkeep/config.yaml")
_PKI = Path("/etc/swarmkeep/pki")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the operator and the agent reach the API."""

    servers: tuple[str, ...] = ("https://127.0.0.1:6443",)
    """URLs of the API servers, tried in this order and then whichever answers."""
    ca: Path = _PKI / "ca.crt"
    """The CA that the servers' certificates are checked against."""
    timeout: timedelta = timedelta(seconds=5)
    """The longest that one call may take, all servers together."""


@dataclass(frozen=True, slots=True)
class ApiServerSettings:
    """Section `apiserver`."""

    listen: Address = Address("0.0.0.0", 6443)  # noqa: S104 - the API is for the whole Swarm, and has no door without a certificate
    certificate: Path = _PKI / "apiserver.crt"
    key: Path = _PKI / "apiserver.key"
    client_ca: Path = _PKI / "ca.crt"
    """The CA that clients' certificates are checked against."""
    metrics_listen: Address = Address("127.0.0.1", 9641)


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """Section `etcd`: used by the API server, and by the operator for leader election."""

    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    ca: Path | None = _PKI / "etcd-ca.crt"
    """None, with certificate and key, speaks plain text: for tests on loopback only."""
    certificate: Path | None = _PKI / "etcd-client.crt"
    key: Path | None = _PKI / "etcd-client.key"
    timeout: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Section `operator`."""

    certificate: Path = _PKI / "operator.crt"
    key: Path = _PKI / "operator.key"
    docker: str = "unix:///var/run/docker.sock"
    """A Docker that is a manager of the Swarm."""
    election_ttl: timedelta = timedelta(seconds=5)
    """How long a leader that went silent still counts; a standby takes over within two of these."""
    scrub_interval: timedelta = timedelta(hours=24)
    """How often each version in storage is read back unasked, to see whether it is whole; 0s for never."""
    metrics_listen: Address = Address("127.0.0.1", 9642)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Section `agent`."""

    certificate: Path = _PKI / "agent.crt"
    key: Path = _PKI / "agent.key"
    lease_duration: timedelta = timedelta(seconds=15)
    """How long the node counts as alive after its agent was last heard; then others may take its workloads."""
    state_dir: Path = Path("/var/lib/swarmkeep")
    """What has to survive a reboot: the journal, selectors for the shim, staging."""
    run_dir: Path = Path("/run/swarmkeep")
    """Sockets and what a reboot makes untrue."""
    staging_dir: Path | None = None
    """Where dumps are first written; None means `state_dir`/staging. A tmpfs makes the frozen time shorter."""
    docker: str = "unix:///var/run/docker.sock"
    docker_root: Path = Path("/var/lib/docker")
    """Docker's data root, as `docker info` tells it."""
    runc: Path = Path("/usr/sbin/runc")
    runc_root: Path = Path("/run/docker/runtime-runc/moby")
    """Where Docker's containers are known to runc."""
    scrub_rate: int = 16 << 20
    """Bytes in a second that reading versions back unasked may take from storage, all together on this node."""
    verify_limit: timedelta = timedelta(hours=1)
    """The longest that verifying one version may take."""
    metrics_listen: Address = Address("127.0.0.1", 9643)

    @property
    def renew_interval(self) -> timedelta:
        """How often the node's lease is renewed."""
        return self.lease_duration / 5

    @property
    def fence_after(self) -> timedelta:
        """Freeze the workloads when the last renewal that went through was sent this long ago.

        The rest of the lease is for freezing: nobody else may start a copy before the lease has run out.
        """
        return self.lease_duration * 3 / 4

    @property
    def staging(self) -> Path:
        """Where dumps are first written."""
        return self.staging_dir or self.state_dir / "staging"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    node: str = field(default_factory=socket.gethostname)
    """This node's name in the Swarm and in the API."""
    api: ApiSettings = field(default_factory=ApiSettings)
    apiserver: ApiServerSettings = field(default_factory=ApiServerSettings)
    etcd: EtcdSettings = field(default_factory=EtcdSettings)
    operator: OperatorSettings = field(default_factory=OperatorSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)

    def __post_init__(self) -> None:
        """Refuses combinations that cannot work. Raises InvalidObject."""
        second = timedelta(seconds=1)
        if self.agent.lease_duration < 2 * second:
            raise InvalidObject("agent.leaseDuration must be at least 2s: freezing before it runs out needs that long")
        if self.agent.scrub_rate < 1:
            raise InvalidObject("agent.scrubRate must be at least 1 byte; operator.scrubInterval: 0s turns it off")
        if self.operator.election_ttl < 2 * second:
            raise InvalidObject("operator.electionTTL must be at least 2s: etcd's leases have no finer grain")
        if not self.api.servers:
            raise InvalidObject("api.servers is empty: name at least one URL")
        if not self.etcd.endpoints:
            raise InvalidObject("etcd.endpoints is empty: name at least one host:port")
        tls = (self.etcd.ca, self.etcd.certificate, self.etcd.key)
        if any(tls) and not all(tls):
            raise InvalidObject("etcd.ca, etcd.certificate and etcd.key go together: set all three or set all to null")
