"""The lab leaves nothing behind."""

import subprocess
from pathlib import Path

from swarmlab import Lab
from swarmlab.settings import Settings


def traces(lab: Lab) -> dict[str, list[str]]:
    """Everything on this machine that belongs to a lab."""
    processes = subprocess.run(
        ["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    cgroups = Path("/sys/fs/cgroup").glob(f"*/{lab.settings.cgroup}*")
    return {
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if str(lab.settings.state) in line],
        "links": [path.name for path in Path("/sys/class/net").iterdir() if path.name in links(lab)],
        "processes": [line for line in processes if str(lab.settings.state) in line],
        "cgroups": [str(path) for path in cgroups],
        "files": [str(lab.settings.state)] if lab.settings.state.exists() else [],
    }


def links(lab: Lab) -> set[str]:
    return {lab.settings.bridge, lab.settings.link("registry"), lab.settings.link("n1")}


def test_a_bare_node_comes_up_runs_a_container_and_goes_without_a_trace() -> None:
    lab = Lab(Settings(name="clean", network="10.98.7"))
    try:
        lab.up(1, bare=True)
        image = lab.images()["shell"]
        assert lab.execute("n1", ["docker", "run", "--rm", image, "echo", "alive"]).stdout == "alive\n"
        lab.execute("n1", ["docker", "run", "-d", "--name", "left", image, "sleep", "infinity"])
        lab.kill("n1")
        lab.boot("n1")
        assert "left" in lab.execute("n1", ["docker", "ps", "-a", "--format", "{{.Names}}"]).stdout
        assert {what for what, found in traces(lab).items() if found} >= {"mounts", "links", "processes", "files"}
    finally:
        lab.down()
    assert traces(lab) == {"mounts": [], "links": [], "processes": [], "cgroups": [], "files": []}


def test_taking_down_a_lab_that_is_not_there_is_no_error() -> None:
    Lab(Settings(name="absent", network="10.98.8")).down()
