"""One call from end to end, as containerd makes it: the entry module in a Python of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import swarmkeep.shim
from swarmkeep.shim import entry
from swarmkeep.shim import settings as module_settings
from swarmkeep.shim.arguments import parse_call
from swarmkeep.shim.settings import Settings, load_settings

MAIN = Path(swarmkeep.shim.__file__).with_name("__main__.py")
Protect = Callable[..., str]


def run_alone(tmp_path: Path, settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the entry module of an installation of which nothing else is left."""
    module = tmp_path / "site/swarmkeep/shim/__main__.py"
    module.parent.mkdir(parents=True)
    module.write_text(MAIN.read_text())
    return subprocess.run(
        [sys.executable, "-I", "-S", str(module), settings.runc, *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_becomes_runc_when_anything_is_wrong_with_itself(tmp_path: Path, settings: Settings) -> None:
    done = run_alone(tmp_path, settings, "--root", "/r", "kill", "abc", "15")
    assert "going on with" in done.stderr
    assert (tmp_path / "calls").read_text() == "runc --root /r kill abc 15\n"


@pytest.mark.parametrize("log", [["--log", "LOG"], ["--log=LOG"], []])
def test_refuses_a_create_when_the_rest_of_it_is_missing(tmp_path: Path, settings: Settings, log: list[str]) -> None:
    """As the front script does without Python: it hands over only what may be protected."""
    path = tmp_path / "log.json"
    words = [word.replace("LOG", str(path)) for word in log]
    done = run_alone(tmp_path, settings, *words, "create", "--bundle", "/b", "abc")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert not (tmp_path / "calls").exists()
    assert not log or "is damaged" in json.loads(path.read_text())["msg"]


def test_needs_criu_and_runc_only_to_restore(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_settings, "SEARCH_PATH", str(tmp_path / "nowhere"))
    conf = tmp_path / "shim.conf"
    conf.write_text(f"state_dir={settings.state_dir}\n")
    bare = load_settings(str(conf))
    assert bare.state_dir == settings.state_dir
    monkeypatch.setattr(entry, "load_settings", lambda: bare)
    assert entry.handle(["create", "--bundle", "/b", "abc"]) is None
    with pytest.raises(FileNotFoundError, match="criu=/path/to/criu"):
        bare.program("criu")


def test_settings_that_cannot_be_read_are_the_defaults(tmp_path: Path) -> None:
    assert load_settings(str(tmp_path)) == Settings()


def test_says_why_where_docker_looks(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    entry.report(parse_call(["--log", str(log), "--log-format", "json", "create", "abc"]), 'he said "no"\nand meant it')
    record = json.loads(log.read_text())
    assert (record["level"], record["msg"]) == ("error", 'he said "no"\nand meant it')


def test_says_why_in_a_log_of_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    entry.report(parse_call(["--log", str(log), "create", "abc"]), "no\nmore")
    assert log.read_text().count("\n") == 1
    assert 'level=error msg="no\\nmore"' in log.read_text()


def test_fails_the_create_with_the_reason(
    settings: Settings, protect: Protect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protect("Hold", 0.1)
    monkeypatch.setattr(entry, "load_settings", lambda: settings)
    log = tmp_path / "log.json"
    assert entry.handle(["--log", str(log), "--log-format", "json", "create", "--bundle", "/b", "abc"]) == 1
    assert "protected" in json.loads(log.read_text())["msg"]


def test_leaves_a_note_when_it_breaks_over_a_create(
    settings: Settings, protect: Protect, monkeypatch: pytest.MonkeyPatch
) -> None:
    protect()
    Path(settings.selectors).unlink()
    Path(settings.selectors).mkdir()
    monkeypatch.setattr(entry, "load_settings", lambda: settings)
    with pytest.raises(IsADirectoryError):
        entry.handle(["create", "--bundle", "/b", "abc"])
    assert json.loads(Path(settings.cold_starts).read_text())["reason"] == "ShimFailed"


def test_needs_nothing_but_the_standard_library() -> None:
    """It runs in the system's Python, where nothing is installed."""
    code = (
        f"import sys; sys.path.append({str(MAIN.parent.parent.parent)!r}); "
        "import swarmkeep.shim.entry; "
        "print(*[n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names and n != '__main__'])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert {name.split(".")[0] for name in done.stdout.split()} == {"swarmkeep"}
    assert {name for name in done.stdout.split() if not name.startswith("swarmkeep.shim")} == {"swarmkeep"}
