"""hack/fuzz runs, finds nothing, and would find something."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]

# atheris has no wheels for 3.14 and later; test_mutated_bytes.py feeds the same readers by hypothesis there.
if sys.version_info < (3, 14):

    def fuzz(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CHECKOUT / "hack/fuzz"), *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)

    def test_readers_only_read_or_say_that_they_cannot(tmp_path: Path) -> None:
        done = fuzz(tmp_path, "-runs=40000", "-max_total_time=60", "-seed=7")

        assert done.returncode == 0, done.stderr[-3000:]
        assert "Done " in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_a_reader_with_a_bug_is_found_out_and_the_input_kept(tmp_path: Path) -> None:
        for name in ("hack/fuzz", "tests/property/store/readers.py"):
            (tmp_path / name).parent.mkdir(parents=True)
            shutil.copy(CHECKOUT / name, tmp_path / name)
        (tmp_path / "operator").symlink_to(CHECKOUT / "operator")
        with (tmp_path / "tests/property/store/readers.py").open("a") as file:
            file.write("\nREADERS['mark'] = (lambda content: 1 // (len(content) - 9), [b'12345678'])\n")
        command = [sys.executable, str(tmp_path / "hack/fuzz"), "mark", "-runs=20000", "-seed=7"]

        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)

        assert done.returncode not in (0, 1)
        assert "ZeroDivisionError" in done.stdout + done.stderr
        (kept,) = tmp_path.glob("crash-*")
        assert len(kept.read_bytes()) == 9

    def test_an_input_that_a_reader_can_read_is_fed_again_from_a_file(tmp_path: Path) -> None:
        (tmp_path / "mark").write_bytes(b"swarmkeep-location 1 00000000-0000-0000-0000-000000000000\n")

        done = fuzz(tmp_path, "mark", "mark")

        assert done.returncode == 0, done.stderr[-3000:]
        assert "Executed mark" in done.stderr

    def test_a_reader_that_there_is_not_is_said(tmp_path: Path) -> None:
        done = fuzz(tmp_path, "nothing")

        assert done.returncode == 1
        assert "there is no reader nothing; there are manifest, sections" in done.stderr
