"""The shell script that containerd calls: what goes straight to runc, and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import swarmkeep.shim
from swarmkeep.shim.settings import Settings

FRONT = Path(swarmkeep.shim.__file__).with_name("swarmkeep-runtime")
Protect = Callable[..., str]
Calls = Callable[[], list[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs the script with the settings of this test, and a Python that only writes down its arguments."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "python $*" >> {tmp_path}/calls\n')
    python.chmod(0o755)
    conf = Path(environment["CONF"])
    conf.write_text(conf.read_text() + f"python={python}\nmodule={FRONT.with_name('__main__.py')}\n")
    script = tmp_path / "swarmkeep-runtime"
    script.write_text(FRONT.read_text().replace("/etc/swarmkeep/shim.conf", str(conf)))
    script.chmod(0o755)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(script), *words], capture_output=True, text=True, timeout=20, check=False)

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        [],
        ["--root", "/r", "state", "abc"],
        ["--root", "/r", "exec", "--process", "/p p", "../abc"],
        ["--log", "create", "--root=/r", "events", "abc"],
        ["create", "--bundle", "/b", "../abc"],
        ["--root", "/r", "create", "--bundle", "/b", "other"],
        ["--root", "/r", "start", "abc"],
        ["--root", "/r", "delete", "--force", "abc"],
        ["--root", "/r", "kill", "--all", "abc", "9"],
        ["--root", "/r", "kill", "abc", "9"],
    ],
)
def test_hands_everything_else_to_runc_word_for_word(
    run: Run, calls: Calls, protect: Protect, words: list[str]
) -> None:
    protect()
    assert run(*words).returncode == 0
    assert calls() == [f"runc {' '.join(words)}"]


def test_lets_an_exec_wait_for_a_version_but_not_for_a_fence(
    run: Run, calls: Calls, protect: Protect, settings: Settings
) -> None:
    words = ["--root", "/r", "exec", "--process", "/p p", "abc"]
    run(*words)
    protect()
    run(*words)
    frozen = Path(settings.run_dir) / "frozen"
    frozen.mkdir()
    for keep in (False, True):
        (frozen / "abc.json").write_text(json.dumps({"folder": "/x", "version": 1, "keep": keep}))
        run(*words)
    plain, waits = (f"runc --root /r exec{option} --process /p p abc" for option in ("", " --ignore-paused"))
    assert calls() == [plain, waits, waits, plain]


def test_asks_python_about_what_may_be_protected(run: Run, calls: Calls, protect: Protect, settings: Settings) -> None:
    protect()
    words = ["--root", "/r", "create", "--bundle", "/b", "abc"]
    run(*words)
    assert calls() == [f"python -I -S {FRONT.with_name('__main__.py')} {settings.runc} {' '.join(words)}"]


def test_asks_python_about_the_stop_of_what_may_be_protected(run: Run, calls: Calls, protect: Protect) -> None:
    protect()
    run("kill", "abc", "15")
    assert calls()[0].endswith("kill abc 15")
    assert calls()[0].startswith("python")


def test_starts_a_restored_container_once_by_doing_nothing(run: Run, calls: Calls, settings: Settings) -> None:
    folder = Path(settings.container_dir("abc"))
    folder.mkdir(parents=True)
    (folder / "restored").touch()
    assert run("--root", "/r", "start", "abc").returncode == 0
    assert calls() == []
    run("--root", "/r", "start", "abc")
    assert calls() == ["runc --root /r start abc"]


def test_forgets_a_deleted_container(run: Run, calls: Calls, settings: Settings) -> None:
    folder = Path(settings.container_dir("abc"))
    folder.mkdir(parents=True)
    (folder / "criu.conf").touch()
    run("delete", "abc")
    assert not folder.exists()
    assert calls() == ["runc delete abc"]


def test_lets_python_end_the_server_of_pages_at_delete(run: Run, calls: Calls, settings: Settings) -> None:
    folder = Path(settings.container_dir("abc"))
    folder.mkdir(parents=True)
    (folder / "work").write_text("/w")
    run("delete", "abc")
    assert calls()[0].startswith("python")


def test_does_not_start_a_protected_container_empty_when_its_other_half_is_missing(
    run: Run, calls: Calls, protect: Protect, environment: dict[str, str], tmp_path: Path
) -> None:
    protect()
    conf = Path(environment["CONF"])
    conf.write_text(conf.read_text() + "python=/nowhere\n")
    log = tmp_path / "log.json"
    assert run("--log", str(log), "create", "--bundle", "/b", "abc").returncode == 1
    assert "repair the installation" in json.loads(log.read_text())["msg"]
    assert run("create", "--bundle", "/b", "other").returncode == 0
    assert run("kill", "abc", "15").returncode == 0
    assert calls() == ["runc create --bundle /b other", "runc kill abc 15"]


def test_finds_its_other_half_in_the_same_installation(tmp_path: Path, settings: Settings, protect: Protect) -> None:
    protect()
    package = tmp_path / "venv/lib/python3.11/site-packages/swarmkeep/shim"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text("import sys\nprint('module', *sys.argv[1:])\n")
    (tmp_path / "venv/bin").mkdir()
    conf = tmp_path / "own.conf"
    keys = ("runc", "docker_root", "state_dir", "run_dir")
    conf.write_text("".join(f"{key}={getattr(settings, key)}\n" for key in keys) + f"python={sys.executable}\n")
    script = tmp_path / "venv/bin/swarmkeep-runtime"
    script.write_text(FRONT.read_text().replace("/etc/swarmkeep/shim.conf", str(conf)))
    script.chmod(0o755)
    (tmp_path / "link").symlink_to(script)
    done = subprocess.run(
        [str(tmp_path / "link"), "create", "--bundle", "/b", "abc"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout.split()[:1] == ["module"]
