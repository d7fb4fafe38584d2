"""The whole lab: up, down, and what a test does to it in between."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from swarmlab import images, network, services
from swarmlab.node import Node
from swarmlab.process import LabError, run, say, wait_until
from swarmlab.rootfs import VENV, node_root, podman_layer, python_layer, s3_root
from swarmlab.settings import API_PORT, CACHE, CHECKOUT, S3_BUCKET, SERVERS, STATE, Settings, index_of

MANAGERS = 3
"""The first so many nodes are managers of the Swarm and members of etcd."""


class Lab:
    """A lab by its settings; whether it is up is read from the machine each time."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._registry = Node(self.settings, "registry")
        self._s3 = Node(self.settings, "s3")

    # What is there

    @property
    def nodes(self) -> list[Node]:
        """Every node that was ever booted, in order."""
        folder = self.settings.state / "nodes"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return [Node(self.settings, name) for name in sorted(names, key=index_of) if name not in SERVERS]

    @property
    def managers(self) -> list[Node]:
        return self.nodes[:MANAGERS]

    @property
    def bare(self) -> bool:
        """Whether it was made without SwarmKeep."""
        return (self.settings.state / "bare").exists()

    def node(self, name: str) -> Node:
        """A node by name. Raises LabError."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes) or "none; `hack/lab up` makes them"
        raise LabError(f"there is no node {name!r} (there are: {known})")

    def images(self) -> dict[str, str]:
        """Full names of the images in the registry."""
        return images.known_images(self._storage)

    def image(self, name: str) -> str:
        """Full name of an image that every live node has. One that is not standard is built when it is wanted first."""
        if name in images.STANDARD or name not in images.IMAGES:
            known = self.images()
            if name not in known:
                raise LabError(f"there is no image {name!r} (there are: {', '.join(known)})")
            return known[name]
        alive = [node for node in self.nodes if node.pid]
        if not alive:
            raise LabError("the lab is down; `hack/lab up` starts it")
        full = images.load_images(alive[0], self._storage, [name])[name]
        _each(lambda node: images.pull(node, [full]), alive)
        return full

    # Up and down

    def up(self, count: int = 3, *, bare: bool = False, s3: bool = False, podman: bool = False) -> None:
        """Brings up whatever is missing, and the newest SwarmKeep of this checkout to all nodes.

        With `s3` there is an S3 server too, at `settings.s3`, and its keys on all nodes. `podman` puts Podman beside
        Docker on nodes that are made now.
        """
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes namespaces, mounts and cgroups")
        with self._locked():
            if self.nodes and bare != self.bare:
                raise LabError("the lab is up the other way (with or without --bare); take it down first")
            (self.settings.shared / "swarmkeep").mkdir(parents=True, exist_ok=True)
            if bare:
                (self.settings.state / "bare").touch()
            root = node_root()
            lower = [root] if bare else [python_layer(root) / "layer", root]
            if podman:
                lower.insert(0, podman_layer(root) / "layer")
            wheel = None if bare else self._build_wheel()
            network.ensure_bridge(self.settings)
            self._boot_registry(root)
            if s3:
                self._boot_s3()
            nodes = [Node(self.settings, f"n{number}") for number in range(1, count + 1)]
            say(f"booting {', '.join(node.name for node in nodes)}")
            for node in nodes:
                node.mount(lower)
                if not node.pid:
                    services.configure_docker(node, shim=not bare)
                if s3:
                    services.write_s3_credentials(node)
            if not bare:
                self._make_certificates(nodes)
                for node in nodes[:MANAGERS]:
                    services.configure_etcd(node, nodes[:MANAGERS])
            _each(Node.boot, nodes)
            _each(_wait_for_docker, nodes)
            self._wait_for_registry()
            self._join(nodes)
            names = images.load_images(nodes[0], self._storage, images.STANDARD)
            say("bringing the images to all nodes")
            _each(lambda node: images.pull(node, names.values()), nodes)
            if wheel is not None:
                self._install(nodes, wheel)
            if s3:
                self._wait_for_s3()

    def down(self) -> None:
        """Removes everything that belongs to the lab; nothing stays but the cache."""
        with self._locked():
            for node in [*self.nodes, self._registry, self._s3]:
                node.destroy()
            network.remove_bridge(self.settings)
            for hierarchy in Path("/sys/fs/cgroup").iterdir():
                with contextlib.suppress(OSError):
                    (hierarchy / self.settings.cgroup).rmdir()
            shutil.rmtree(self.settings.state, ignore_errors=True)
        (STATE / f"{self.settings.name}.lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            STATE.rmdir()

    # What a test does

    def kill(self, name: str) -> None:
        """Cuts a node's power."""
        self.node(name).kill()

    def boot(self, name: str) -> None:
        """Switches a node on again, with its disk as it was left."""
        node = self.node(name)
        node.boot()
        _wait_for_docker(node)

    def is_connected(self, name: str) -> bool:
        """Whether a node's cable is whole."""
        return network.link_is_up(self.settings, name)

    def cut(self, name: str) -> None:
        """Takes a node off the network; it lives on."""
        network.set_link(self.settings, self.node(name).name, up=False)

    def mend(self, name: str) -> None:
        """Puts a node on the network again."""
        network.set_link(self.settings, self.node(name).name, up=True)

    def execute(
        self, name: str, command: Sequence[str], *, limit_s: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program inside a node."""
        return self.node(name).execute(command, limit_s=limit_s, check=check)

    def running_container(self, name: str, service: str) -> str | None:
        """The container of a service's task on one node."""
        words = ["docker", "ps", "-q", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={service}"]
        found = self.node(name).execute(words, check=False).stdout.split()
        return found[0] if found else None

    def load(self, tag: str, archive: Path) -> str:
        """Makes a root file system an image in the registry; returns its full name."""
        return images.load_image(self.nodes[0], self._storage, tag, archive, [])

    def kubeconfig(self) -> Path:
        """A kubeconfig that works on this machine."""
        path = self.settings.state / "kubeconfig"
        if not path.exists():
            servers = [word for node in self.managers for word in ("--server", f"https://{node.address}:{API_PORT}")]
            text = _swarmkeep("pki", "kubeconfig", str(self.settings.pki), "--name", "admin", *servers)
            path.touch(mode=0o600)
            path.write_text(text)
        return path

    def logs(self, name: str, service: str | None = None) -> Iterator[Path]:
        """The log files of a node's services."""
        node = self.node(name)
        folder = node.state / "upper" / services.LOGS.lstrip("/")
        yield from sorted(folder.glob(f"{service or '*'}.log"))
        if service in (None, "console"):
            yield node.state / "console.log"

    def status(self) -> list[tuple[str, str, str, str, str]]:
        """One row for each node: name, power, network, Swarm's view, services that run."""
        swarm = self._swarm_view()
        rows = []
        for node in self.nodes:
            on = node.pid is not None
            running = _running_services(node) if on else ""
            rows.append(
                (
                    node.name,
                    "on" if on else "off",
                    "up" if network.link_is_up(self.settings, node.name) else "cut" if on else "-",
                    swarm.get(node.name, "unknown"),
                    running,
                )
            )
        return rows

    # Parts of `up`

    @property
    def _storage(self) -> Path:
        return CACHE / f"registry-{self.settings.name}"

    def _boot_s3(self) -> None:
        self._s3.mount([s3_root()])
        if not self._s3.pid:
            services.configure_s3(self._s3)
            (self._s3.state / "upper" / services.LOGS.lstrip("/") / "s3.log").unlink(missing_ok=True)
            self._s3.boot()

    def _wait_for_s3(self) -> None:
        log = self._s3.state / "upper" / services.LOGS.lstrip("/") / "s3.log"
        wait_until(f"the S3 server (see {log})", lambda: log.exists() and "ready\n" in log.read_text(), limit_s=90)
        say(f"S3 is at {self.settings.s3}, bucket {S3_BUCKET}; keys are in {services.S3_CREDENTIALS} on every node")

    def _boot_registry(self, root: Path) -> None:
        self._storage.mkdir(parents=True, exist_ok=True)
        self._registry.mount([root])
        if self._registry.pid:
            return
        services.configure_registry(self._registry, "/var/lib/etcd")
        storage = self._registry.state / "etcd"
        if storage.is_dir() and not storage.is_symlink():
            storage.rmdir()
        storage.symlink_to(self._storage)
        self._registry.boot()

    def _wait_for_registry(self) -> None:
        host, port = self.settings.registry.split(":")

        def answers() -> bool:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError as error:
                raise LabError(str(error)) from None
            return True

        wait_until("the image registry", answers, limit_s=60)

    def _make_certificates(self, nodes: Sequence[Node]) -> None:
        pki = self.settings.pki
        if not (pki / "ca.crt").exists():
            _swarmkeep("pki", "init", str(pki))

        def issue(node: Node) -> None:
            target = node.root / "etc/swarmkeep/pki"
            if (target / "agent.crt").exists():
                return
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(pki / "ca.crt", target)
            shutil.copy(pki / "etcd-ca.crt", target)
            hosts = ["--host", node.address, "--host", node.name]
            for role in ("agent", "operator", "etcd-client", "apiserver", "etcd-server"):
                words = hosts if role.endswith("server") else []
                _swarmkeep("pki", "issue", str(pki), "--role", role, "--name", node.name, *words)
                for ending in ("crt", "key"):
                    shutil.copy(pki / f"{role}-{node.name}.{ending}", target / f"{role}.{ending}")
            etcd = node.root / "etc/etcd"
            etcd.mkdir(parents=True, exist_ok=True)
            shutil.copy(pki / "etcd-ca.crt", etcd / "ca.crt")
            for ending in ("crt", "key"):
                shutil.copy(target / f"etcd-server.{ending}", etcd / f"member.{ending}")

        say("making certificates")
        _each(issue, nodes)

    def _join(self, nodes: Sequence[Node]) -> None:
        first, *others = nodes
        state = first.execute(["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]).stdout.strip()
        if state == "inactive":
            first.execute(["docker", "swarm", "init", "--advertise-addr", first.address])
            # Production's default of 5 s makes a dead node go unnoticed for some 16 s.
            first.execute(["docker", "swarm", "update", "--dispatcher-heartbeat", "1s"])
        tokens = {
            role: first.execute(["docker", "swarm", "join-token", "--quiet", role]).stdout.strip()
            for role in ("manager", "worker")
        }
        for number, node in enumerate(others, start=2):
            state = node.execute(["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]).stdout.strip()
            if state != "inactive":
                continue
            token = tokens["manager" if number <= MANAGERS else "worker"]
            node.execute(
                ["docker", "swarm", "join", "--token", token, "--advertise-addr", node.address, f"{first.address}:2377"]
            )

        def all_ready() -> bool:
            return list(self._swarm_view().values()).count("Ready") >= len([node for node in nodes if node.pid])

        wait_until("all nodes to be ready in the Swarm", all_ready, limit_s=60)

    def _build_wheel(self) -> Path:
        """The wheel of this checkout, named after its content so that an unchanged one is not installed again."""
        sources = sorted(
            path
            for top in ("operator", "crds")
            for path in (CHECKOUT / top).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        digest = hashlib.sha256()
        for path in [*sources, CHECKOUT / "pyproject.toml"]:
            digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes() + b"\0")
        folder = self.settings.state / f"wheel-{digest.hexdigest()[:16]}"
        if not folder.exists():
            say("building SwarmKeep's wheel")
            pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
            run([*pip, "--wheel-dir", str(folder), str(CHECKOUT)], limit_s=300)
        return next(folder.glob("*.whl"))

    def _install(self, nodes: Sequence[Node], wheel: Path) -> None:
        """Brings the wheel to every node where it is not the one installed, and SwarmKeep's services up on all."""
        (self.settings.shared / ".lab").mkdir(exist_ok=True)
        shared = self.settings.shared / ".lab" / wheel.name
        shutil.copy(wheel, shared)

        def install(node: Node) -> None:
            stamp = "/opt/swarmkeep/installed-wheel"
            if (node.root / stamp.lstrip("/")).exists() and (
                node.root / stamp.lstrip("/")
            ).read_text() == wheel.parent.name:
                return
            pip = [f"{VENV}/bin/pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall"]
            node.execute([*pip, f"/shared/.lab/{wheel.name}"], limit_s=120)
            node.execute(["ln", "-sf", f"{VENV}/bin/swarmkeep", f"{VENV}/bin/swarmkeep-runtime", "/usr/local/bin/"])
            node.write(stamp, wheel.parent.name)
            services.configure_swarmkeep(node, nodes[:MANAGERS])
            # A service that is new is found by the supervisor within 5 s; one that runs has to be told.
            for service in ("manager", "agent"):
                node.execute(["sv", "term", f"/etc/lab/service/{service}"], check=False)

        say("installing SwarmKeep on all nodes")
        _each(install, nodes)
        wait_until("SwarmKeep's API", lambda: self._api_answers(nodes), limit_s=60)

    def _api_answers(self, nodes: Sequence[Node]) -> bool:
        self.kubeconfig()
        for node in nodes[:MANAGERS]:
            if node.pid:
                url = f"https://{node.address}:{API_PORT}/readyz"
                pki = "/etc/swarmkeep/pki"
                words = ["curl", "-sf", "--max-time", "2", "--cacert", f"{pki}/ca.crt", "--cert", f"{pki}/agent.crt"]
                node.execute([*words, "--key", f"{pki}/agent.key", url], limit_s=5)
        return True

    def _swarm_view(self) -> dict[str, str]:
        """What the Swarm says of each node."""
        for node in self.managers:
            if not node.pid:
                continue
            words = ["docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}"]
            done = node.execute(words, check=False, limit_s=10)
            if done.returncode == 0:
                return dict(line.split()[:2] for line in done.stdout.splitlines())
        return {}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        STATE.mkdir(parents=True, exist_ok=True)
        with open(STATE / f"{self.settings.name}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError("another command is changing this lab right now; wait for it to end") from None
            yield


def _each(work: object, nodes: Sequence[Node]) -> None:
    """Does it on all nodes at once; raises the first error when all have ended."""
    assert callable(work)
    with ThreadPoolExecutor(max_workers=8) as pool:
        for future in [pool.submit(work, node) for node in nodes]:
            future.result()


def _wait_for_docker(node: Node) -> None:
    def answers() -> bool:
        return node.execute(["docker", "info", "--format", "{{.ID}}"], limit_s=10).returncode == 0

    wait_until(f"dockerd on {node.name} (see `hack/lab logs {node.name} dockerd`)", answers, limit_s=60)


def _running_services(node: Node) -> str:
    done = node.execute(["sh", "-c", "sv status /etc/lab/service/*"], check=False)
    running = [
        line.split(":")[1].strip().rpartition("/")[2] for line in done.stdout.splitlines() if line.startswith("run:")
    ]
    return " ".join(sorted(running))


def _swarmkeep(*words: str) -> str:
    """SwarmKeep's own command from this checkout."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "operator")}
    done = subprocess.run(
        [sys.executable, "-m", "swarmkeep", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"swarmkeep {' '.join(words[:4])} failed:\n{done.stderr.strip()}")
    return done.stdout
