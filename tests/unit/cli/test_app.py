"""The command as a process: exit codes, quiet ends, and nothing loaded that is not needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCES = str(Path(__file__).parents[3] / "operator")
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCES, "TERM": "dumb", "COLUMNS": "100"}
COMMAND = [sys.executable, "-m", "swarmkeep"]
VERBS = (
    *("apply", "get", "describe", "watch", "delete", "diff", "explain", "wait", "prune", "verify", "import"),
    *("version", "completion", "manager"),
)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={**ENVIRONMENT, **environment},
        check=False,
    )


def test_the_version_needs_no_server() -> None:
    done = run("version", "--client")
    assert (done.returncode, done.stdout) == (0, "Client Version: 0.1.0\n")


def test_the_version_loads_no_http_client_and_no_daemon() -> None:
    program = (
        "import sys; from swarmkeep.cli.app import run_app; run_app(['version', '--client']);"
        "heavy = ('aiohttp', 'yaml', 'rich.table', 'asyncio', 'structlog', 'kopf', 'grpc');"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=ENVIRONMENT, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert "Example: " in done.stdout


def test_without_a_verb_all_are_listed() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("arguments", [["frobnicate"], ["get"], ["get", "wl", "--frobnicate"], ["completion", "tcsh"]])
def test_a_wrong_command_line_ends_with_two(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_no_kubeconfig_is_said_in_one_line(tmp_path: Path) -> None:
    done = run("get", "wl", KUBECONFIG="", HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no kubeconfig: looked for {tmp_path}/.kube/config")
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_does_not_answer_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    done = run("--kubeconfig", str(path), "get", "wl")
    assert done.returncode == 3
    assert done.stderr == "error: cannot reach http://127.0.0.1:1: Connection refused\n"


@pytest.mark.parametrize("daemon", ["apiserver", "operator", "agent", "manager"])
def test_a_daemon_without_settings_says_which_file(daemon: str, tmp_path: Path) -> None:
    done = run(daemon, "--config", str(tmp_path / "absent.yaml"))
    assert done.returncode == 2
    assert "absent.yaml: No such file or directory" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_command(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_SWARMKEEP_COMPLETE=complete_" in done.stdout


def test_bash_completes_verbs() -> None:
    done = run(_SWARMKEEP_COMPLETE="complete_bash", COMP_WORDS="swarmkeep de", COMP_CWORD="1")
    assert done.stdout.split() == ["describe", "delete"]


def test_a_reader_that_has_enough_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [*COMMAND, "completion", "bash"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait(30)
    assert complaint == b""


def test_ctrl_c_ends_quietly_with_130(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = tmp_path / "config"
        path.write_text(
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{silent.getsockname()[1]}'}}}}]\n"
        )
        with subprocess.Popen(
            [*COMMAND, "get", "wl", "--kubeconfig", str(path)], stderr=subprocess.PIPE, env=ENVIRONMENT
        ) as process:
            connection, _ = silent.accept()  # it is waiting for an answer now
            with connection:
                time.sleep(0.1)
                process.send_signal(signal.SIGINT)
                _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (130, b"")
