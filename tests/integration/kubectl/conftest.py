"""kubectl, as a user has it, against a real API server over a real etcd."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swarmlab.rootfs import node_root

from ..servers import ApiServer

COMMAND_S = 30
LAB_KUBECTL = "lab"
"""The kubectl of the lab's nodes: the newest that a user of Debian would have."""
OLDEST_KUBECTL = (1, 29)
"""Older ones cannot validate without OpenAPI v2, which is not served."""


def _kubectls() -> list[str]:
    """What to test with: SWARMKEEP_KUBECTLS, paths with colons between, or the lab's and, if it has one, the host's."""
    if chosen := os.environ.get("SWARMKEEP_KUBECTLS"):
        return chosen.split(":")
    found = shutil.which("kubectl")
    if not found:
        return [LAB_KUBECTL]
    command = [found, "version", "--client", "-o", "json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=True).stdout
    major, minor = re.match(r"v(\d+)\.(\d+)", json.loads(answer)["clientVersion"]["gitVersion"]).groups()  # type: ignore[union-attr]
    return [LAB_KUBECTL, found] if (int(major), int(minor)) >= OLDEST_KUBECTL else [LAB_KUBECTL]


_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The lines of a table as words."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One kubectl with a kubeconfig and a namespace of its own."""

    program: str
    kubeconfig: Path
    cache: Path
    namespace: str

    def command(self, *arguments: str) -> list[str]:
        return [self.program, f"--cache-dir={self.cache}", f"--namespace={self.namespace}", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.cache), **more}

    def tries(self, *arguments: str, stdin: str = "", **environment: str) -> Answer:
        """Runs it; for commands that may fail."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            env=self.environment(**environment),
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Answer:
        """Runs it; the test fails if it does."""
        answer = self.tries(*arguments, stdin=stdin, **environment)
        assert answer.code == 0, f"kubectl {' '.join(arguments)}: {answer.err}"
        return answer

    def get(self, *arguments: str) -> Any:
        """The object or list as JSON."""
        return self("get", *arguments, "-o", "json").json

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """Runs it in the background."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(),
        )


@pytest.fixture(scope="session", params=_kubectls(), ids=lambda program: Path(program).name)
def program(request: pytest.FixtureRequest) -> str:
    """Path of a kubectl; the lab's root file system is built if there is none yet."""
    if request.param == LAB_KUBECTL:
        return str(node_root() / "usr/bin/kubectl")
    return str(request.param)


@pytest.fixture
def kubectl(server: ApiServer, program: str, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl as an administrator, in a new namespace."""
    cache = tmp_path_factory.getbasetemp() / f"kubectl-cache-{abs(hash(program))}"
    found = Kubectl(program, server.pki.kubeconfig(server.url), cache, f"test-{next(_numbers)}")
    found("create", "namespace", found.namespace)
    return found


POLICY = """\
apiVersion: swarmkeep.dev/v1alpha1
kind: CheckpointPolicy
metadata:
  name: {name}
  labels: {{tier: {tier}}}
spec:
  selector: {{service: {name}}}
  schedule: {{every: {every}}}
  storage: [main]
"""


def policy(name: str = "redis", every: str = "30s", tier: str = "data") -> str:
    """A CheckpointPolicy as YAML."""
    return POLICY.format(name=name, every=every, tier=tier)
