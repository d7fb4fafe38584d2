"""`hack/lab`: the lab from the command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from swarmlab.images import IMAGES
from swarmlab.lab import Lab
from swarmlab.process import LabError

DESCRIPTION = """A real multi-node Docker Swarm on this machine: nodes n1, n2, n3 at 10.99.0.1 and up, each with its own
dockerd, containerd, runc and CRIU, an etcd on the first three, an image registry, /shared as shared storage, and the
SwarmKeep of this checkout. Needs root."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # A terminated `up` must clean up like an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return int(options.run(Lab(), options) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; `hack/lab down` removes what is there, `hack/lab up` goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141


def _up(lab: Lab, options: argparse.Namespace) -> None:
    lab.up(options.nodes, bare=options.bare, s3=options.s3)
    _status(lab, options)


def _down(lab: Lab, options: argparse.Namespace) -> None:
    lab.down()
    if not options.quiet:
        print("the lab is down")


def _exec(lab: Lab, options: argparse.Namespace) -> None:
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        raise LabError("what is to be run? hack/lab exec n1 -- docker ps")
    entering = lab.node(options.node).entering()
    os.execvp(entering[0], [*entering, *words])  # noqa: S606


def _shell(lab: Lab, options: argparse.Namespace) -> None:
    entering = lab.node(options.node).entering()
    os.execvp(entering[0], [*entering, "bash"])  # noqa: S606


def _logs(lab: Lab, options: argparse.Namespace) -> None:
    paths = [str(path) for path in lab.logs(options.node, options.service) if path.exists()]
    if not paths:
        raise LabError(f"{options.node} has no log of {options.service or 'anything'}")
    follow = ["-F"] if options.follow else []
    os.execvp("tail", ["tail", "-n", str(options.lines), *follow, *paths])  # noqa: S606


def _status(lab: Lab, _: argparse.Namespace) -> int:
    rows = [("NODE", "POWER", "NETWORK", "SWARM", "SERVICES"), *lab.status()]
    if len(rows) == 1:
        print("the lab is down; `hack/lab up` starts it")
        return 1
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip())
    return 0


def _images(lab: Lab, options: argparse.Namespace) -> None:
    for name in options.name:
        lab.image(name)
    for name, full in lab.images().items():
        print(f"{name}\t{full}")


def _load(lab: Lab, options: argparse.Namespace) -> None:
    if sys.stdin.isatty():
        raise LabError(f"give the root file system on standard input: hack/lab load {options.tag} < rootfs.tar")
    print(lab.load(options.tag, Path("/dev/stdin")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hack/lab", description=DESCRIPTION, epilog="Example: hack/lab up && hack/lab exec n1 -- docker node ls"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str, *, node: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if node:
            command.add_argument("node", metavar="NODE", help="n1, n2, n3 ...")
        return command

    up = add("up", _up, "bring up whatever is missing")
    up.add_argument(
        "--nodes", type=int, default=3, choices=range(1, 21), metavar="N", help="how many nodes (default 3)"
    )
    up.add_argument("--bare", action="store_true", help="without SwarmKeep and etcd, for comparisons")
    up.add_argument("--s3", action="store_true", help="with an S3 server (Ceph), and its keys on every node")
    down = add("down", _down, "remove everything but the cache")
    down.add_argument("--quiet", action="store_true", help="say nothing")
    run = add("exec", _exec, "run a command inside a node", node=True)
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD...")
    add("shell", _shell, "open a shell inside a node", node=True)
    logs = add("logs", _logs, "show the logs of a node's services", node=True)
    logs.add_argument("service", nargs="?", help="dockerd, etcd, manager, agent or console")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as the log grows")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many lines of each (default 100)")
    add("status", _status, "show the nodes")
    add(
        "kill",
        lambda lab, options: lab.kill(options.node),
        "cut a node's power: everything in it dies at once",
        node=True,
    )
    add("boot", lambda lab, options: lab.boot(options.node), "switch a node on again", node=True)
    add("cut", lambda lab, options: lab.cut(options.node), "take a node off the network; it lives on", node=True)
    add("mend", lambda lab, options: lab.mend(options.node), "put a node on the network again", node=True)
    load = add("load", _load, "make a root file system on standard input an image that every node can use")
    load.add_argument("tag", metavar="NAME:TAG")
    shown = add("images", _images, "print the full names of the images in the lab's registry")
    shown.add_argument("name", nargs="*", metavar="NAME", help=f"build it if need be: {', '.join(IMAGES)}")
    add("kubeconfig", lambda lab, _: print(lab.kubeconfig()), "print the path of a kubeconfig for this machine")
    return parser
