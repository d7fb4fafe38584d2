"""The command, as a user has it, against a real API server over a real etcd."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarmlab.rootfs import node_root

from ..servers import OPERATOR_FOLDER, ApiServer

COMMAND_S = 60

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cli:
    """The command and kubectl with the same kubeconfig and a namespace of the test's own."""

    kubeconfig: Path
    namespace: str
    folder: Path
    kubectl_program: Path

    @property
    def environment(self) -> dict[str, str]:
        ours = {"KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(OPERATOR_FOLDER), "HOME": str(self.folder)}
        return {**os.environ, **ours, "COLUMNS": "120"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "swarmkeep", "-n", self.namespace, *arguments]

    def run(self, *arguments: str, stdin: str = "", code: int = 0, **environment: str) -> str:
        """Standard output of the command; it must end with `code`."""
        return self.tries(*arguments, stdin=stdin, code=code, **environment).stdout

    def complaint(self, *arguments: str, code: int, stdin: str = "") -> str:
        """Standard error of a command that must end with `code`."""
        return self.tries(*arguments, stdin=stdin, code=code).stderr

    def tries(
        self, *arguments: str, code: int, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            env={**self.environment, **environment},
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [str(self.kubectl_program), f"--namespace={self.namespace}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def file(self, name: str, *objects: dict[str, Any]) -> str:
        """Writes a YAML file and returns its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        return str(path)


@pytest.fixture
def cli(server: ApiServer, tmp_path: Path) -> Cli:
    kubeconfig = server.pki.kubeconfig(server.url)
    made = Cli(kubeconfig, f"cli-{next(_numbers)}", tmp_path, node_root() / "usr/bin/kubectl")
    made.kubectl("create", "namespace", made.namespace)
    return made
