"""Builds root file systems: the nodes' own, the Python layer above it, those of the images. Cached by recipe."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from swarmlab.process import LabError, run, say
from swarmlab.settings import CACHE, CHECKOUT

SUITE = "forky"
"""The one suite in which everything fits together: CRIU below 4.2 cannot dump sockets on a 6.18 kernel."""

NODE_PACKAGES = (
    "ca-certificates", "containerd", "criu", "curl", "docker-cli", "docker-registry", "docker.io", "etcd-client",
    "etcd-server", "iproute2", "iptables", "iputils-ping", "kmod", "kubernetes-client", "nftables", "procps", "python3",
    "python3-venv", "runc", "runit", "tini",
)  # fmt: skip
S3_PACKAGES = ("ceph-mon", "ceph-osd", "iproute2", "procps", "python3", "radosgw", "runit", "tini")
PODMAN_PACKAGES = ("conmon", "crun", "libcriu2", "netavark", "podman")
"""What benchmarks compare with; not part of the nodes' own root."""
VENV = "/opt/swarmkeep"


def node_root() -> Path:
    """The root file system that all nodes share as their lowest layer."""
    return _cached("root", repr((SUITE, NODE_PACKAGES)), "the nodes' root file system (a minute)", _build_node_root)


def s3_root() -> Path:
    """The root file system of the node that serves S3."""
    recipe = repr((SUITE, S3_PACKAGES))
    return _cached("s3root", recipe, "the S3 server's root file system (a minute)", _build_s3_root)


def python_layer(root: Path) -> Path:
    """An overlay layer above `root`: a virtual environment with all that SwarmKeep needs, but not SwarmKeep."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    requirements = sorted(project["dependencies"])
    recipe = repr((root.name, VENV, requirements))
    what = "the nodes' Python environment (a minute)"
    return _cached("python", recipe, what, lambda target: _build_python_layer(root, target, requirements))


def podman_layer(root: Path) -> Path:
    """An overlay layer above `root`: Podman and all that it needs to checkpoint containers."""
    recipe = repr((root.name, PODMAN_PACKAGES))
    what = "Podman for the nodes (half a minute)"
    return _cached("podman", recipe, what, lambda target: _build_podman_layer(root, target))


def image_root(name: str, packages: Sequence[str]) -> Path:
    """A root file system for an image, as a tar archive."""
    return _cached(
        f"image-{name}", repr((SUITE, packages)), f"image {name}", lambda target: _bootstrap(packages, target)
    )


def _cached(kind: str, recipe: str, what: str, build: object) -> Path:
    """The thing of this recipe, built when it is not there; older ones of the same kind go, unless a lab uses them."""
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    target = CACHE / f"{kind}-{digest}"
    if target.exists():
        return target
    say(f"building {what}")
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = CACHE / f".{kind}-{digest}.{os.getpid()}"
    _remove(unfinished)
    try:
        assert callable(build)
        build(unfinished)
        unfinished.rename(target)
    except BaseException:
        _remove(unfinished)
        raise
    in_use = Path("/proc/self/mountinfo").read_text()
    for old in CACHE.glob(f"{kind}-*"):
        if old != target and str(old) not in in_use:
            _remove(old)
    return target


def _build_node_root(target: Path) -> None:
    _bootstrap(NODE_PACKAGES, target)
    (target / "etc/resolv.conf").write_text("")


def _build_s3_root(target: Path) -> None:
    _bootstrap(S3_PACKAGES, target)


def _bootstrap(packages: Sequence[str], target: Path) -> None:
    # A folder, or a tar archive when the name says so. A testing suite's Release file may be past its date.
    archive = target.name.startswith(".image-")
    command = [
        "mmdebstrap", "--variant=minbase", f"--format={'tar' if archive else 'directory'}",
        '--aptopt=Acquire::Check-Valid-Until "false"', '--dpkgopt=path-exclude=/usr/share/doc/*',
        '--dpkgopt=path-exclude=/usr/share/man/*', '--dpkgopt=path-exclude=/usr/share/locale/*',
    ]  # fmt: skip
    if packages:
        command.append(f"--include={','.join(packages)}")
    run([*command, SUITE, target, *_mirrors()], limit_s=900)


def _mirrors() -> list[str]:
    """The mirror that this machine's own apt uses; none lets mmdebstrap choose."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lines = sources.read_text().splitlines() if sources.exists() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:")][:1]


def _build_python_layer(root: Path, target: Path, requirements: Sequence[str]) -> None:
    (target / "layer").mkdir(parents=True)
    with _overlay(root, target) as merged:
        _in_root(merged, "python3", "-m", "venv", VENV)
        _in_root(merged, f"{VENV}/bin/pip", "install", "--quiet", "--no-compile", *requirements)
        _in_root(merged, f"{VENV}/bin/python", "-m", "compileall", "-q", "-j", "2", f"{VENV}/lib")
    shutil.rmtree(target / "work", ignore_errors=True)


def _build_podman_layer(root: Path, target: Path) -> None:
    (target / "layer").mkdir(parents=True)
    apt = ("apt-get", "-qq", "-o", "Acquire::Check-Valid-Until=false", "-o", "APT::Sandbox::User=root")
    with _overlay(root, target) as merged:
        _in_root(merged, *apt, "update")
        _in_root(merged, *apt, "install", "--yes", "--no-install-recommends", *PODMAN_PACKAGES)
        _in_root(merged, "apt-get", "clean")
    shutil.rmtree(target / "work", ignore_errors=True)


@contextlib.contextmanager
def _overlay(root: Path, target: Path) -> Iterator[Path]:
    """`root` with `target`/layer on top, with what pip needs from this machine laid over it."""
    merged = target / "merged"
    for folder in (merged, target / "work"):
        folder.mkdir()
    options = f"lowerdir={root},upperdir={target / 'layer'},workdir={target / 'work'}"
    run(["mount", "-t", "overlay", "overlay", "-o", options, merged])
    try:
        borrowed = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/resolv.conf"), Path("/etc/pip.conf"))
        for path in borrowed:
            if path.exists():
                inside = merged / path.relative_to("/")
                if not inside.exists():
                    inside.touch()
                run(["mount", "--bind", path.resolve(), inside])
        yield merged
    finally:
        run(["umount", "--recursive", merged], check=False)
        merged.rmdir()


def _in_root(root: Path, *command: str) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_", "http", "HTTP", "no_proxy"))
    }
    environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    environment |= {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["chroot", str(root), *command], env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)[:200]} in the nodes' root failed:\n{done.stderr.strip()[-2000:]}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
