"""A named volume comes along: memory and files are of the same instant wherever the workload goes on."""

from __future__ import annotations

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Service, join_network, policy

# Counts in memory and in two open files, and ends as soon as they are not in step.
PROGRAM = """
import hashlib, os, sys, time
quiet = os.urandom(8 << 20)
with open("/data/quiet", "wb") as file:
    file.write(quiet)
digest = hashlib.sha256(quiet).digest()
number = os.open("/data/number", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
log = os.open("/data/log", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
step = 0
while True:
    step += 1
    os.pwrite(number, b"%020d" % step, 0)
    os.write(log, b"%019d\\n" % step)
    seen = int(os.pread(number, 20, 0)), os.fstat(log).st_size // 20
    if seen != (step, step):
        sys.exit(f"{step} in memory, {seen} in files")
    if step % 100 == 0 and hashlib.sha256(open("/data/quiet", "rb").read()).digest() != digest:
        sys.exit("another file is in the place of the quiet one")
    time.sleep(0.005)
"""


def steps(service: Service) -> int:
    return int(service.execute("cat", "/data/number"))


def hooks_run(service: Service) -> list[str]:
    return service.execute("cat", "/tmp/hooks").split()


def goes_on(service: Service, container: str) -> int:
    """Waits until the task has made steps of its own, and is still the one that it was; returns how far it is."""
    came_up = steps(service)
    wait_until("the program to go on", lambda: steps(service) > came_up + 250, limit_s=60)
    assert service.wait_running().container == container
    return steps(service)


def test_memory_and_volume_are_of_one_instant_after_a_power_cut_and_after_a_stop(lab: Lab, api: Api) -> None:
    service = Service(lab, "steps")
    # One that leaves a process behind, one that hangs and is given up: neither may get into a version.
    before = [
        {"exec": ["sh", "-c", "echo before >> /tmp/hooks; setsid sleep 1000 >/dev/null 2>&1 &"]},
        {"exec": ["sh", "-c", "trap '' TERM; sleep 1001"], "timeout": "300ms", "onFailure": "Continue"},
    ]
    after = [{"exec": ["sh", "-c", "echo after >> /tmp/hooks"]}]
    hooks = {"before": before, "after": after}
    api.apply(policy("steps", every="2s", checkpoint={"volumes": ["steps"], "hooks": hooks}))
    mount = "type=volume,source=steps,target=/data"
    options = ("--constraint", "node.hostname!=n1", "--mount", mount)
    service.create("python", "python3", "-c", PROGRAM, options=options)
    home = service.wait_running()
    other = lab.node(next(name for name in ("n2", "n3") if name != home.node.name))
    # Somebody else's data lies in a volume of that name on the node that it will come to.
    foreign = ["sh", "-c", "docker volume create steps && echo mine > /var/lib/docker/volumes/steps/_data/foreign"]
    other.execute(foreign)
    join_network(lab, ["n2", "n3"])
    api.wait_version("steps.1", api.newest_version("steps.1") + 2)
    newest = api.get("workload", "steps.1")["status"]["newestVersion"]["number"]
    version = api.get("checkpoint", f"steps.1-v{newest}")["status"]
    assert version["bytes"]["volumes"] > 8 << 20
    before_cut = steps(service)
    api.wait_version("steps.1", newest + 2)

    lab.kill(home.node.name)
    moved = service.wait_running(other_than=home.container)
    assert moved.node.name == other.name
    reached = goes_on(service, moved.container)
    start = api.get("workload", "steps.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "NodeLoss")
    assert reached > before_cut
    # The restored process was in the state between the hooks, and has got those that come after.
    wait_until("the hooks", lambda: hooks_run(service)[-1:] == ["after"], limit_s=30)
    assert hooks_run(service)[:3] == ["before", "after", "before"]
    listed = moved.node.execute(["docker", "top", moved.container]).stdout
    assert "sleep 100" not in listed
    # What was in the volume before is kept, and somebody is told.
    aside = other.execute(["sh", "-c", "cat /var/lib/docker/volumes/steps/_data.swarmkeep-before-*/foreign"]).stdout
    assert aside.strip() == "mine"
    told = api.list("events")
    assert any(event["reason"] == "VolumeSetAside" and "steps" in event["message"] for event in told)

    # A final version has the volume too: no step is lost, and none is made twice.
    lab.execute("n1", ["docker", "service", "scale", "--detach", "steps=0"])
    wait_until("the task to end", lambda: service.find() is None, limit_s=60)
    volume = "/var/lib/docker/volumes/steps/_data"
    last = int(other.execute(["cat", f"{volume}/number"]).stdout)
    other.execute(["sh", "-c", f"echo tampered > {volume}/number"])
    lab.execute("n1", ["docker", "service", "scale", "--detach", "steps=1"])
    again = service.wait_running(other_than=moved.container)
    assert goes_on(service, again.container) > last
    start = api.get("workload", "steps.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "Reschedule")
