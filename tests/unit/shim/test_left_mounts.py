"""What a CRIU that was killed leaves mounted in its work folder, in a mount namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MOUNTED = """
import os, pathlib, subprocess, sys
work = pathlib.Path(sys.argv[1]) / "abc"
yard = work / ".criu.cgyard.x"
yard.mkdir(parents=True)
(work / "restore.log").touch()
for folder in (yard, yard / "cpu"):
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "yard", folder], check=True)
(yard / "cpu/group").mkdir()
inside = os.open(yard / "cpu", os.O_RDONLY)
"""


def in_own_namespace(script: str, folder: Path) -> None:
    subprocess.run(["unshare", "--mount", sys.executable, "-c", MOUNTED + script, folder], check=True, timeout=30)


def test_it_is_taken_out_before_anybody_removes_the_folder(tmp_path: Path) -> None:
    in_own_namespace(
        """
from swarmkeep.shim.restore import detach_mounts
detach_mounts(str(work))
assert not os.path.ismount(yard)
assert os.listdir(yard) == []
assert os.listdir(inside) == ["group"]
detach_mounts(str(work))
""",
        tmp_path,
    )


def test_the_agent_does_not_go_into_what_the_shim_could_not_take_out(tmp_path: Path) -> None:
    in_own_namespace(
        """
from swarmkeep.agent.runtime.restores import Restores
Restores(work.parent).forget("abc")
assert os.listdir(inside) == ["group"]
subprocess.run(["umount", "--recursive", "--lazy", yard], check=True)
Restores(work.parent).forget("abc")
assert not work.exists()
""",
        tmp_path,
    )
