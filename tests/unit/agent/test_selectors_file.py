"""What the shim is told in advance."""

from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.selectors_file import SelectorsFile, selector_lines
from swarmkeep.model.policy import Policy, parse_policy


def policy(selector: dict[str, Any], **spec: Any) -> Policy:
    return parse_policy(
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"selector": selector, "schedule": {"every": "5s"}, "storage": ["main"], **spec},
            "status": {"services": ["found"]},
        }
    )


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (policy({"service": "redis"}), ["service redis\tHold\t60"]),
        (policy({"stack": "shop"}), ["stack shop\tHold\t60"]),
        (policy({"container": "web"}), ["container web\tHold\t60"]),
        (policy({"composeProject": "shop"}), ["label com.docker.compose.project=shop\tHold\t60"]),
        (policy({"containerLabels": {"k": "v"}}), ["label k=v\tHold\t60"]),
        (policy({"matchLabels": {"k": "v"}}), ["label k=v\tHold\t60", "service found\tHold\t60"]),
        (policy({"service": "r"}, fencing="None"), ["service r\tFresh\t60"]),
        (policy({"service": "r"}, fencing="None", restore={"otherwise": "Hold"}), ["service r\tHold\t60"]),
        (policy({"service": "r"}, restore={"holdLimit": "1m30s"}), ["service r\tHold\t90"]),
        (policy({"service": "r\nservice *"}), []),
        (policy({"matchLabels": {"k": "a\tb"}}), ["service found\tHold\t60"]),
    ],
)
def test_a_policy_becomes_lines(given: Policy, lines: list[str]) -> None:
    assert selector_lines([given]) == lines


def test_the_file_is_only_written_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "shim" / "selectors"
    file = SelectorsFile(path)
    file.publish([policy({"service": "redis"})])
    before = path.stat().st_ino
    file.publish([policy({"service": "redis"})])
    assert path.stat().st_ino == before
    file.publish([])
    assert path.read_bytes() == b""
