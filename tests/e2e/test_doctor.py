"""What the doctor says of real nodes and a real task, and how history tells a drain."""

import json
from typing import Any

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, availability, policy


def test_the_doctor_finds_what_would_not_survive_and_history_tells_a_drain(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "examined")
    api.apply(policy("examined", every="2s"))
    redis.create("redis", options=["--mount", "type=bind,source=/srv,target=/srv", "--tty"])
    api.wait_version("examined.1", 2)

    def examined() -> dict[str, list[dict[str, Any]]]:
        found = json.loads(api.run("doctor", "-o", "json", check=False))["examined"]
        return {f"{one['kind']} {one['name']}": one["findings"] for one in found}

    def codes(name: str) -> dict[str, str]:
        return {finding["code"]: finding["severity"] for finding in examined()[name]}

    wait_until("the doctor to see the mount", lambda: "BindMount" in codes("workload examined.1"), limit_s=30)
    found = codes("workload examined.1")
    assert (found["BindMount"], found["Tty"]) == ("Warning", "Note")
    assert not {"NotRunning", "NoOtherNode", "VersionsFail", "ImageDiffers", "Devices"} & found.keys()

    conditions = api.get("cpol", "examined")["status"]["conditions"]
    portable = next(condition for condition in conditions if condition["type"] == "Portable")
    assert portable["status"] == "True"
    assert "/srv at /srv" in portable["message"]

    for node in lab.nodes:
        status = api.get("nodes", node.name, "")["status"]
        assert status["runtime"]["path"].endswith("/swarmkeep-runtime")
        assert status["storageDriver"] == "overlay2"
        assert {disk["name"] for disk in status["disks"]} == {"staging", "state"}
        assert status["cpuFeatures"]
        assert status["clockOffsetSeconds"] == 0
        assert status["images"]
        # Whatever `criu check` says of this machine's kernel, nothing else is wrong with a node of the lab.
        problems = {code for code, severity in codes(f"node {node.name}").items() if severity == "Problem"}
        assert problems <= {"CriuCheckFailed"}, status["criuCheck"]

    home = redis.wait_running()
    availability(lab, **{home.node.name: "drain"})
    there = redis.wait_running(other_than=home.container)
    wait_until(
        "the restore to be recorded",
        lambda: api.get("workload", "examined.1")["status"].get("lastStart", {}).get("node") == there.node.name,
        limit_s=60,
    )
    told = json.loads(api.run("history", "examined.1", "-o", "json"))
    happened = [(moment["what"], moment.get("node")) for moment in told["moments"]]
    assert ("Version", home.node.name) in happened
    moved = happened.index(("Moved", there.node.name))
    assert happened.index(("Ended", home.node.name)) < moved < happened.index(("Restored", there.node.name))
    assert [stay["node"] for stay in told["stays"]][-2:] == [home.node.name, there.node.name]
