"""The main job, narrated: a Redis service survives the loss of its node, with its memory. Run by hack/demo."""

from __future__ import annotations

import signal
import sys
import time
from datetime import datetime
from typing import Any

from swarmlab.lab import Lab
from swarmlab.process import LabError, wait_until
from swarmlab.settings import CHECKOUT
from swarmlab.workload import Api, Redis, Writer, join_network, now

KEYS = 100_000
WORKLOAD = "redis.1"
ANSWER_LIMIT_S = 20.0

_begun = time.monotonic()


def step(text: str) -> None:
    """A heading, with the time since the beginning."""
    line = f"[{time.monotonic() - _begun:5.1f} s] {text}"
    print(f"\n\033[1m{line}\033[0m" if sys.stdout.isatty() else f"\n{line}", flush=True)


def tell(text: str) -> None:
    """A fact."""
    print("    " + text.replace("\n", "\n    "), flush=True)


def main() -> int:
    """Plays the demo on the lab; returns 0 only if the proof holds."""
    lab = Lab()
    # Being told to end cleans up like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        step("Booting three nodes: a real Docker Swarm, etcd, SwarmKeep")
        lab.up()
        return _play(lab, Api(lab))
    except LabError as error:
        print(f"\nThe demo could not go on: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    finally:
        step("Taking the lab down")
        lab.down()


def _play(lab: Lab, api: Api) -> int:
    redis = Redis(lab, "redis")
    writer = Writer(lab, "n1", "redis")

    step("Saying what we want: two YAML documents, one command")
    samples = CHECKOUT / "manifests/samples"
    for name in ("storage.yaml", "policy.yaml"):
        tell((samples / name).read_text().rstrip())
    tell(f"$ swarmkeep apply -f manifests/samples\n{api.run('apply', '-f', str(samples)).rstrip()}")

    step(f"Starting an ordinary Redis service, {KEYS:,} keys, and a client that increments a counter without pause")
    redis.create("redis", options=["--constraint", "node.hostname!=n1"])
    redis.fill(KEYS, 100)
    join_network(lab, ["n2", "n3"])
    writer.start()
    home = redis.wait_running().node.name
    tell(f"Swarm put it on {home}. Nothing in it or around it knows of SwarmKeep.")

    step("Watching versions being taken, every 5 s, while it works")
    for _ in range(2):
        newest = api.newest_version(WORKLOAD)
        api.wait_version(WORKLOAD, newest + 1)
        checkpoint = _checkpoint(api, api.newest_version(WORKLOAD))
        status = checkpoint["status"]
        tell(
            f"version {status['version']}: frozen {status['frozenSeconds'] * 1000:.0f} ms, "
            f"memory {status['bytes']['memory'] / 1e6:.1f} MB, stored {status['bytes']['stored'] / 1e6:.1f} MB"
        )
    pause = writer.longest_pause(now() - 8)
    tell(f"the longest pause that the client saw in the last 8 s: {pause * 1000:.0f} ms")
    tell(f"$ swarmkeep get workloads\n{api.run('get', 'workloads').rstrip()}")

    step(f"Cutting the power of {home}: every process on it is gone at once")
    cut_at = now()
    lab.kill(home)
    last_moment, last_value = writer.last_before(cut_at)
    tell(f"the last increment that was acknowledged: {last_value:,}")

    step("Swarm starts the task elsewhere, SwarmKeep restores it there")
    first_moment, first_value = writer.first_after(cut_at + 0.2, limit_s=60)
    outage = first_moment - cut_at
    workload = _restored(api)
    start = workload["status"]["lastStart"]
    task = redis.wait_running()
    tell(f"running on {task.node.name}: {start['how']} from version {start['version']} ({start['message']})")
    tell(f"$ swarmkeep get events\n{api.run('get', 'events').rstrip()}")

    step("The proof")
    manifest = _checkpoint(api, start["version"])["status"]
    version_value = _value_at(writer, manifest["takenAt"])
    good = redis.good_keys(KEYS)
    checks = [
        (f"restored, not started fresh: {start['how']}", start["how"] == "Restored"),
        (f"on another node: {home} -> {task.node.name}", task.node.name != home),
        (f"every key is there: {good:,} of {KEYS:,}", good == KEYS),
        (
            f"the counter goes on at {first_value:,}, at or after the version's {version_value:,}",
            first_value >= version_value > 1,
        ),
        (f"answering again {outage:.1f} s after the cut", outage < ANSWER_LIMIT_S),
    ]
    for text, holds in checks:
        tell(f"[{'ok' if holds else 'FAILED'}] {text}")
    tell(f"work lost: {last_value - first_value + 1:,} increments, {last_moment - _moment(manifest['takenAt']):.1f} s")
    holds = all(ok for _, ok in checks)
    step("The proof holds." if holds else "THE PROOF DOES NOT HOLD.")
    return 0 if holds else 1


def _checkpoint(api: Api, version: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def recorded() -> bool:
        found.extend(
            item
            for item in api.list("checkpoints", labels=f"swarmkeep.dev/workload={WORKLOAD}")
            if item.get("status", {}).get("version") == version and item["status"].get("phase") == "Stored"
        )
        return bool(found)

    wait_until(f"the record of version {version}", recorded, limit_s=20)
    return found[0]


def _restored(api: Api) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def started() -> bool:
        workload = api.get("workload", WORKLOAD)
        if workload["status"].get("lastStart", {}).get("reason") == "NodeLoss":
            found.append(workload)
        return bool(found)

    wait_until(f"{WORKLOAD} to be reported as restored", started, limit_s=20)
    return found[0]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _value_at(writer: Writer, taken_at: str) -> int:
    """What the counter was at the instant of the version, as the client saw it."""
    return writer.last_before(_moment(taken_at))[1]


if __name__ == "__main__":
    sys.exit(main())
