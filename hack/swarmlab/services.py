"""What runs inside the nodes: run scripts for their supervisor, and the settings that they read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from swarmlab import s3_server
from swarmlab.node import Node
from swarmlab.rootfs import VENV
from swarmlab.settings import API_PORT, REGISTRY_PORT, S3_BUCKET, S3_PORT

DAEMON_CONFIG = "/etc/swarmkeep/config.yaml"
LOGS = "/var/log/lab"
S3_CREDENTIALS = "/etc/swarmkeep/s3-credentials"
S3_ACCESS_KEY, S3_SECRET_KEY = "lab", "lab-secret-key"


def add_service(node: Node, name: str, command: str) -> None:
    """Makes the node's supervisor run `command` and start it again whenever it ends."""
    script = f"#!/bin/sh\nexec >> {LOGS}/{name}.log 2>&1\nulimit -n 65536 2> /dev/null\nexec {command}\n"
    node.write(f"{LOGS}/.keep", "")
    node.write(f"/etc/lab/service/{name}/run", script, mode=0o755)


def configure_docker(node: Node, *, shim: bool) -> None:
    """dockerd, with SwarmKeep's runtime as the default one when `shim` says so."""
    settings = {
        "storage-driver": "overlay2",
        "cgroup-parent": f"/{node.settings.cgroup}/{node.name}",
        "insecure-registries": [node.settings.registry],
        "experimental": True,
        "log-level": "warn",
    }
    if shim:
        settings |= {
            "runtimes": {"swarmkeep": {"path": "/usr/local/bin/swarmkeep-runtime"}},
            "default-runtime": "swarmkeep",
        }
    node.write("/etc/hostname", node.name + "\n")
    node.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {node.name}\n")
    # A name server that cannot be reached makes every image pull wait 10 to 40 s; none at all fails at once.
    node.write("/etc/resolv.conf", "")
    node.write("/etc/docker/daemon.json", json.dumps(settings, indent=2) + "\n")
    add_service(node, "dockerd", "/usr/sbin/dockerd")


def configure_registry(node: Node, storage: str) -> None:
    """The lab's image registry, on a node of its own that no test kills."""
    node.write("/etc/hostname", node.name + "\n")
    node.write("/etc/hosts", "127.0.0.1 localhost registry\n")
    node.write("/etc/resolv.conf", "")
    settings = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": storage}},
        "http": {"addr": f"0.0.0.0:{REGISTRY_PORT}"},
    }
    node.write("/etc/lab-registry.yml", json.dumps(settings))
    add_service(node, "registry", "/usr/bin/docker-registry serve /etc/lab-registry.yml")


def configure_s3(node: Node) -> None:
    """The lab's S3 server, on a node of its own that no test kills. What it keeps is gone when it ends."""
    node.write("/etc/hostname", node.name + "\n")
    node.write("/etc/hosts", "127.0.0.1 localhost s3\n")
    node.write("/etc/resolv.conf", "")
    node.write("/opt/s3_server.py", Path(s3_server.__file__).read_text())
    words = ["/var/lib/swarmkeep/s3", node.address, str(S3_PORT), S3_ACCESS_KEY, S3_SECRET_KEY, S3_BUCKET]
    add_service(node, "s3", f"/usr/bin/python3 -u /opt/s3_server.py {' '.join(words)}")


def write_s3_credentials(node: Node) -> None:
    """The keys of the S3 server, where a StorageLocation can name them."""
    keys = f"[default]\naws_access_key_id = {S3_ACCESS_KEY}\naws_secret_access_key = {S3_SECRET_KEY}\n"
    node.write(S3_CREDENTIALS, keys, mode=0o600)


def configure_etcd(node: Node, members: Sequence[Node]) -> None:
    """A member of the lab's etcd, TLS on every port; its certificates come from the lab's own authority."""
    cluster = ",".join(f"{member.name}=https://{member.address}:2380" for member in members)
    pki = "/etc/etcd"
    words = [
        "/usr/bin/etcd", f"--name={node.name}", "--data-dir=/var/lib/etcd/data", "--logger=zap", "--log-level=warn",
        f"--initial-cluster={cluster}", "--initial-cluster-token=swarmkeep-lab", "--initial-cluster-state=new",
        f"--listen-peer-urls=https://{node.address}:2380", f"--initial-advertise-peer-urls=https://{node.address}:2380",
        f"--listen-client-urls=https://{node.address}:2379,https://127.0.0.1:2379",
        f"--advertise-client-urls=https://{node.address}:2379",
        "--client-cert-auth", f"--trusted-ca-file={pki}/ca.crt", f"--cert-file={pki}/member.crt",
        f"--key-file={pki}/member.key",
        "--peer-client-cert-auth", f"--peer-trusted-ca-file={pki}/ca.crt", f"--peer-cert-file={pki}/member.crt",
        f"--peer-key-file={pki}/member.key",
        "--auto-compaction-mode=periodic", "--auto-compaction-retention=10m",
    ]  # fmt: skip
    add_service(node, "etcd", " ".join(words))


def configure_swarmkeep(node: Node, managers: Sequence[Node]) -> None:
    """SwarmKeep's daemons. Leases are short, so that tests need not wait long for a node to count as lost."""
    servers = [f"https://{manager.address}:{API_PORT}" for manager in managers]
    if node in managers:
        own = f"https://{node.address}:{API_PORT}"
        servers = [own, *(server for server in servers if server != own)]
    endpoints = [f"{manager.address}:2379" for manager in managers]
    pki = "/etc/swarmkeep/pki"
    config = {
        "node": node.name,
        "api": {"servers": servers, "ca": f"{pki}/ca.crt"},
        "etcd": {"endpoints": endpoints},
        "operator": {"electionTTL": "3s"},
        "agent": {"leaseDuration": "4s"},
    }
    # JSON is YAML, and json is in the standard library.
    node.write(DAEMON_CONFIG, json.dumps(config, indent=2) + "\n")
    if node in managers:
        add_service(node, "manager", f"{VENV}/bin/swarmkeep manager")
    add_service(node, "agent", f"{VENV}/bin/swarmkeep agent")
