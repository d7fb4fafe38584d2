"""`create`: what the shim does with what the agent says, and without an agent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.shim.arguments import Call, parse_call
from swarmkeep.shim.create import Refused, create
from swarmkeep.shim.restore import end_page_server
from swarmkeep.shim.settings import Settings

from .conftest import Agent

Protect = Callable[..., str]
Calls = Callable[[], list[str]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    words = ["--root", "/run/moby", "--log", str(tmp_path / "log.json"), "--log-format", "json", "create"]
    return parse_call([*words, "--bundle", str(tmp_path / "bundle"), "--pid-file", "/p", "abc"])


def order(tmp_path: Path, **more: Any) -> dict[str, Any]:
    work = str(tmp_path / "run/restore/abc")
    return {"do": "restore", "image": "/image", "work": work, "lazy": False, "tcp": "close", **more}


def test_leaves_an_unprotected_container_to_runc_without_asking(
    settings: Settings, agent: Agent, call: Call, protect: Protect
) -> None:
    protect()
    Path(settings.selectors).write_text("label keep=no\tHold\t5\n")
    assert create(call, settings) is None
    assert agent.heard == []


def test_leaves_a_container_to_runc_when_the_agent_says_fresh(
    settings: Settings, agent: Agent, call: Call, protect: Protect, tmp_path: Path
) -> None:
    protect()
    agent.script = lambda _: [{"wait": "a claim"}, {"wait": "a claim"}, {"do": "fresh"}]
    assert create(call, settings) is None
    assert agent.heard == [{"op": "create", "id": "abc", "bundle": str(tmp_path / "bundle"), "root": "/run/moby"}]


def test_restores_and_reports(
    settings: Settings, agent: Agent, call: Call, protect: Protect, calls: Calls, tmp_path: Path
) -> None:
    protect()
    agent.script = lambda _: [order(tmp_path), None, {"done": True}]
    assert create(call, settings) == 0
    (restored,) = calls()
    assert "--root /run/moby" in restored
    assert " restore --detach --image-path /image " in restored
    assert "--pid-file /p" in restored
    assert "--lazy-pages" not in restored
    assert restored.endswith(" abc")
    assert agent.heard[1]["outcome"] == "restored"
    assert (tmp_path / "run/shim/abc/restored").exists()


def test_starts_the_server_of_pages_before_a_lazy_restore(
    settings: Settings, agent: Agent, call: Call, protect: Protect, calls: Calls, tmp_path: Path
) -> None:
    protect()
    agent.script = lambda _: [order(tmp_path, lazy=True), None, {"done": True}]
    assert create(call, settings) == 0
    server, restored = calls()[:2]
    assert server.startswith(f"criu lazy-pages --images-dir /image --work-dir {tmp_path}/run/restore/abc")
    assert " --lazy-pages " in restored
    # The container is deleted: nobody is left to serve.
    group = int((tmp_path / "run/restore/abc/lazy-pages.pid").read_text())
    end_page_server(settings, "abc")
    for _ in range(100):
        state = Path(f"/proc/{group}/stat")
        if not state.exists() or ") Z " in state.read_text():
            break
        time.sleep(0.01)
    else:
        pytest.fail("the server of pages still runs")
    assert not (tmp_path / "run/restore/abc/lazy-pages.pid").exists()


def test_names_criu_its_options_only_while_it_restores(
    settings: Settings, agent: Agent, call: Call, protect: Protect, tmp_path: Path
) -> None:
    protect()
    Path(settings.criu_conf).write_text("ghost-limit 10M")
    before = (tmp_path / "bundle/config.json").read_bytes()
    agent.script = lambda _: [order(tmp_path), None, {"done": True}]
    assert create(call, settings) == 0
    seen = json.loads((tmp_path / "seen-config").read_text())
    options = Path(seen["annotations"]["org.criu.config"])
    assert options == tmp_path / "run/shim/abc/criu.conf"
    assert options.read_text() == "ghost-limit 10M\n"
    assert (tmp_path / "bundle/config.json").read_bytes() == before


def test_mounts_what_a_link_leads_to(
    settings: Settings, agent: Agent, call: Call, protect: Protect, tmp_path: Path
) -> None:
    protect()
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to("real")
    mounts = [{"type": "bind", "source": str(tmp_path / "link"), "destination": "/sbin/docker-init"}]
    (tmp_path / "bundle/config.json").write_text(json.dumps({"root": {"path": "rootfs"}, "mounts": mounts}))
    agent.script = lambda _: [order(tmp_path), None, {"done": True}]
    assert create(call, settings) == 0
    seen = json.loads((tmp_path / "seen-config").read_text())
    assert seen["mounts"][0]["source"] == str(tmp_path / "real")


def test_takes_a_failed_restore_back_and_does_what_the_agent_says_next(
    settings: Settings, agent: Agent, call: Call, protect: Protect, calls: Calls, tmp_path: Path
) -> None:
    protect()
    (tmp_path / "fail").touch()
    before = json.loads((tmp_path / "bundle/config.json").read_bytes())
    agent.script = lambda _: [order(tmp_path), None, {"do": "fresh"}]
    assert create(call, settings) is None
    assert agent.heard[1]["outcome"] == "failed"
    assert agent.heard[1]["error"]
    assert calls()[-1].endswith(" delete --force abc")
    assert not (tmp_path / "run/shim/abc/restored").exists()
    assert sorted(path.name for path in (tmp_path / "run/restore").iterdir()) == ["last-failure"]
    after = json.loads((tmp_path / "bundle/config.json").read_bytes())
    assert {**after, "annotations": None} == {**before, "annotations": None}


def test_tries_one_version_after_the_other_until_the_agent_refuses(
    settings: Settings, agent: Agent, call: Call, protect: Protect, calls: Calls, tmp_path: Path
) -> None:
    protect()
    (tmp_path / "fail").touch()
    agent.script = lambda _: [
        order(tmp_path, image="/v2"),
        None,
        order(tmp_path, image="/v1"),
        None,
        {"do": "refuse", "message": "none is left"},
    ]
    with pytest.raises(Refused, match="none is left"):
        create(call, settings)
    assert ["/v2" in line or "/v1" in line for line in calls() if " restore " in line] == [True, True]


def test_counts_as_restored_when_the_agent_dies_before_it_hears_so(
    settings: Settings, agent: Agent, call: Call, protect: Protect, tmp_path: Path
) -> None:
    protect()
    agent.script = lambda _: [order(tmp_path)]
    assert create(call, settings) == 0
    assert (tmp_path / "run/shim/abc/restored").exists()


def test_asks_again_when_the_agent_dies_in_the_middle(
    settings: Settings, agent: Agent, call: Call, protect: Protect
) -> None:
    protect()
    scripts: list[list[dict[str, Any] | bytes | None]] = [[{"wait": "x"}], [b"no JSON\n"], [{"do": "fresh"}]]
    agent.script = lambda _: scripts.pop(0)
    assert create(call, settings) is None
    assert len(agent.heard) == 3


def test_holds_a_container_when_no_agent_answers(settings: Settings, call: Call, protect: Protect) -> None:
    protect("Hold", 0.2)
    begun = time.monotonic()
    with pytest.raises(Refused, match="must not start unasked"):
        create(call, settings)
    assert 0.2 <= time.monotonic() - begun < 2


def test_starts_fresh_without_an_agent_only_with_a_note(settings: Settings, call: Call, protect: Protect) -> None:
    protect("Fresh", 0.1)
    assert create(call, settings) is None
    note = json.loads(Path(settings.cold_starts).read_text())
    assert (note["id"], note["reason"]) == ("abc", "AgentAway")
    assert "no agent answers" in note["message"]


def test_asks_about_a_docker_container_whose_record_is_elsewhere(settings: Settings, agent: Agent, call: Call) -> None:
    Path(settings.selectors).write_text("service redis\tHold\t5\n")
    assert create(call, settings) is None
    assert [question["id"] for question in agent.heard] == ["abc"]


def test_does_not_obey_what_it_does_not_know(settings: Settings, agent: Agent, call: Call, protect: Protect) -> None:
    protect("Hold", 0.2)
    agent.script = lambda _: [{"do": "teleport"}]
    with pytest.raises(Refused, match="teleport"):
        create(call, settings)


def test_refuses_a_container_to_be_held_whatever_breaks(
    settings: Settings, agent: Agent, call: Call, protect: Protect, monkeypatch: pytest.MonkeyPatch
) -> None:
    protect("Hold", 5)

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("swarmkeep.shim.create.ask", broken)
    with pytest.raises(Refused, match=r"must not start unasked.*a bug"):
        create(call, settings)
    protect("Fresh", 5)
    with pytest.raises(RuntimeError, match="a bug"):
        create(call, settings)


def test_a_missing_criu_is_no_fault_of_the_version(
    settings: Settings,
    agent: Agent,
    call: Call,
    protect: Protect,
    calls: Calls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protect("Hold", 5)
    monkeypatch.setattr("swarmkeep.shim.settings.SEARCH_PATH", str(tmp_path / "nowhere"))
    agent.script = lambda _: [order(tmp_path), None, {"do": "fresh"}]
    with pytest.raises(Refused, match="no criu in"):
        create(call, settings._replace(criu=""))
    assert calls() == []
    assert not any("outcome" in said for said in agent.heard)
