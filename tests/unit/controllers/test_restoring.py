"""Whenever the operator dies over a Restore, its successor comes to the same end; a node's agent works in between."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import RESTORE, WORKLOAD
from swarmkeep.model.workload import parse_workload
from swarmkeep.plan.orders import with_start_noted

from ..objects import API, stamp
from .fake_api import Crash, FakeApi
from .test_driver import live, scene, status

REDIS = Ref("default", "redis.1")


def wish(api: FakeApi, **spec: Any) -> None:
    api.put(
        RESTORE,
        {
            "apiVersion": API,
            "kind": "Restore",
            "metadata": {"name": "back", "namespace": "default", "uid": "uid-back", "generation": 1},
            "spec": {"workload": "redis.1", **spec},
        },
    )


def agent(api: FakeApi, *, obeys: bool, refuses: bool) -> None:
    """What the agents do about an order, once: one ends the task or refuses to, another starts the next one."""
    obj = api.objects[WORKLOAD.plural, REDIS]
    order = obj["status"].get("order")
    if not order:
        return
    claim = obj["status"]["claim"]
    if refuses and order["when"] == "Now":
        changes: dict[str, Any] = {"orderRefused": {"uid": order["uid"], "message": "a socket"}}
    else:
        start = {"how": "Restored", "version": 1, "node": "n2", "taskID": "t2", "at": stamp(), "order": order["uid"]}
        start |= {"obeyed": obeys, "message": "it is no good", "reason": "Rollback", "seconds": 0.5}
        noted = obj["status"].get("starts") or ()
        changes = with_start_noted(parse_workload(obj), {"lastStart": start}, noted)
        changes["claim"] = {"node": "n2", "epoch": claim["epoch"] + 1}
    merged = {name: value for name, value in {**obj["status"], **changes}.items() if value is not None}
    api.put(WORKLOAD, {**obj, "status": merged})


scenes = st.fixed_dictionaries(
    {
        "goal": st.sampled_from([{}, {"version": 1}, {"version": 99}, {"fresh": True}]),
        "when": st.sampled_from(["Now", "NextStart"]),
        "obeys": st.booleans(),
        "refuses": st.booleans(),
    }
)


@settings(max_examples=25, deadline=None)
@given(scenes, st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=4))
def test_whenever_it_dies_its_successor_comes_to_the_same_end(
    parts: dict[str, Any], deaths: list[tuple[int, bool]]
) -> None:
    async def rehearse(deaths: list[tuple[int, bool]]) -> FakeApi:
        api, swarm = scene(keep_last=9, versions=3)
        await live(api, swarm)
        wish(api, when=parts["when"], **parts["goal"])
        for _ in range(2):
            for crash_at, carried_out in deaths:
                api.writes, api.crash_at, api.carried_out = 0, crash_at, carried_out
                try:
                    await live(api, swarm)
                except Crash:
                    continue
            api.crash_at = 0
            await live(api, swarm)
            agent(api, obeys=parts["obeys"], refuses=parts["refuses"])
        await live(api, swarm)
        return api

    async def compare() -> None:
        undisturbed, api = await rehearse([]), await rehearse(deaths)
        assert api.state() == undisturbed.state()
        end = status(api, RESTORE, "back")
        assert "order" not in status(api, WORKLOAD, "redis.1")
        impossible = parts["goal"].get("version") == 99
        refused = parts["refuses"] and parts["when"] == "Now"
        done = parts["obeys"] and not impossible and not refused
        assert end["phase"] == ("Done" if done else "Failed")
        assert end["message"]

    asyncio.run(compare())
