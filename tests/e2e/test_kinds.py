"""Every kind of service, all in one stack: what each is made of goes on elsewhere when its placement changes."""

import json
from functools import partial
from typing import Any

import pytest

from swarmlab import Lab, LabError
from swarmlab.process import wait_until
from swarmlab.workload import NETWORK, Api, Service, Task, availability, ensure_network, join_network, label, policy

# Its first word is made up at the start and kept in memory alone: it tells whether the process went on.
COUNT = "T=$(cat /proc/sys/kernel/random/uuid); n=0; while :; do n=$((n+1)); echo $T $n; sleep 0.2; done"
SERVE = """
import http.server, uuid
token, count = uuid.uuid4().hex, 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        count += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{token} {count}".encode())
print(token, 0, flush=True)
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""
SETTINGS: dict[str, dict[str, Any]] = {
    "secretive": {
        "secrets": [{"source": "word", "target": "word", "uid": "1234", "mode": 0o440}],
        "configs": [{"source": "settings", "target": "/etc/settings"}],
    },
    "readonly": {"read_only": True, "volumes": [{"type": "tmpfs", "target": "/tmp"}]},
    "tmpfs": {"volumes": [{"type": "tmpfs", "target": "/cache", "tmpfs": {"size": 10_000_000}}]},
    "healthy": {
        "healthcheck": {
            "test": ["CMD-SHELL", "test -e /dev/null"],
            "interval": "500ms",
            "timeout": "5s",
            "retries": 1,
            "start_period": "1s",
        }
    },
    "inited": {"init": True},
    "limited": {
        "ulimits": {"nofile": {"soft": 1000, "hard": 2000}, "nproc": 500},
        "deploy": {"resources": {"limits": {"memory": "64M", "cpus": "0.5", "pids": 50}}},
    },
    "humble": {"user": "1234:4321", "cap_drop": ["ALL"]},
    "capable": {"cap_add": ["NET_ADMIN"], "cap_drop": ["CHOWN"]},
    "terminal": {"tty": True, "stdin_open": True},
    "piped": {"stdin_open": True},
    "tuned": {"sysctls": {"net.core.somaxconn": 1234, "kernel.msgmax": 12345}},
    "stopping": {"stop_signal": "SIGUSR1", "stop_grace_period": "30s"},
    "named": {"hostname": "a-name", "working_dir": "/srv", "environment": {"ODD": "ä=$x"}},
    "posted": {"ports": [{"target": 80, "published": 8181, "mode": "host"}]},
    "many": {"deploy": {"replicas": 3}},
}
BEFORE = {
    "secretive": "exec 5</run/secrets/word; ",
    "readonly": "echo kept > /tmp/made; exec 5>/tmp/open; ",
    "tmpfs": "echo kept > /cache/made; mkdir -m 700 /cache/inner; ",
    "inited": "sleep 1000 & ",
}
"""What a service does before it counts."""
COUNT_OF_TASKS = len(SETTINGS) + 2
"""One service has three."""


def stack(lab: Lab, secret: str) -> dict[str, Any]:
    """A stack file; JSON is YAML. Compose replaces what begins with one dollar."""
    services = {}
    for name, settings in SETTINGS.items():
        words = ["python3", "-c", SERVE] if name == "posted" else ["sh", "-c", BEFORE.get(name, "") + COUNT]
        image = "python" if name == "posted" else "shell"
        deploy = {
            "endpoint_mode": "dnsrr",
            "placement": {"constraints": ["node.labels.kinds==yes"]},
            "restart_policy": {"delay": "0s"},
        }
        text = json.dumps(
            {"image": lab.image(image), "command": words, "networks": [NETWORK], **settings}
            | {"deploy": deploy | settings.get("deploy", {})}
        )
        services[name] = json.loads(text.replace("$", "$$"))
    return {
        "version": "3.13",
        "services": services,
        "networks": {NETWORK: {"external": True}},
        "secrets": {"word": {"name": secret, "file": f"/shared/.lab/{secret}"}},
        "configs": {"settings": {"file": "/shared/.lab/settings"}},
    }


def deploy(lab: Lab, secret: str) -> None:
    folder = lab.settings.shared / ".lab"
    (folder / secret).write_text(f"{secret}fish")
    (folder / "settings").write_text("a=b")
    (folder / "kinds.json").write_text(json.dumps(stack(lab, secret)))
    words = ["docker", "stack", "deploy", "--detach=true", "--resolve-image=never", "-c", "/shared/.lab/kinds.json"]
    lab.execute("n1", [*words, "kinds"])


def tasks(lab: Lab) -> dict[str, Task]:
    """The running containers of the stack, by service and slot."""
    found = {}
    for node in lab.nodes:
        words = ["docker", "ps", "--no-trunc", "--filter", "label=com.docker.stack.namespace=kinds"]
        words += ["--format", '{{.ID}} {{.Label "com.docker.swarm.task.name"}}']
        for line in node.execute(words).stdout.splitlines():
            container, name = line.split()
            found[name.removeprefix("kinds_").rpartition(".")[0]] = Task(node, container)
    return found


def said(task: Task) -> list[tuple[str, int]]:
    """What a container has counted: pairs of its token and a number."""
    lines = task.node.execute(["docker", "logs", task.container], check=False).stdout.split("\n")
    words = [line.split() for line in lines[:-1]]
    return [(first, int(second)) for first, second in words]


def shell(task: Task, script: str) -> str:
    return task.node.execute(["docker", "exec", task.container, "sh", "-c", script]).stdout.strip()


def assert_as_configured(there: dict[str, Task]) -> None:
    """What each service was given and has made is there in its container."""
    secret = "cat /run/secrets/word /etc/settings; stat -c ' %u %a' /run/secrets/word; cat /proc/1/fd/5"
    assert shell(there["secretive.1"], secret) == "swordfisha=b 1234 440\nswordfish"
    readonly = "cat /tmp/made; readlink /proc/1/fd/5; touch /x 2> /dev/null || echo refused"
    assert shell(there["readonly.1"], readonly) == "kept\n/tmp/open\nrefused"
    tmpfs = "cat /cache/made; stat -c %a /cache/inner; stat -fc %T /cache"
    assert shell(there["tmpfs.1"], tmpfs) == "kept\n700\ntmpfs"
    assert shell(there["inited.1"], "cat /proc/1/comm; cat /proc/[0-9]*/comm | grep -c sleep") == "docker-init\n2"
    limited = there["limited.1"]
    limits = "grep -E 'open files|processes' /proc/1/limits | awk '{print $(NF-2), $(NF-1)}'"
    assert shell(limited, limits) == "500 500\n1000 2000"
    words = ["docker", "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", limited.container]
    assert limited.node.execute(words).stdout.split() == ["67108864", "50"]
    controls = f"cat /sys/fs/cgroup/memory/*/*/{limited.container}/memory.limit_in_bytes"
    assert limited.node.execute(["sh", "-c", controls]).stdout.strip() == "67108864"
    status = "awk '/^(Uid|Gid|CapBnd)/ {print $2}' /proc/1/status"
    assert shell(there["humble.1"], status) == "1234\n4321\n0000000000000000"
    bounding = int(shell(there["capable.1"], status).split()[2], 16)
    assert (bounding >> 12 & 1, bounding & 1) == (1, 0)
    assert shell(there["terminal.1"], "readlink /proc/1/fd/0").startswith("/dev/pts/")
    assert shell(there["piped.1"], "readlink /proc/1/fd/0").startswith("pipe:")
    # Docker's own parameters too: without this one nobody but root could listen on a port below 1024.
    tuned = "cd /proc/sys; cat net/core/somaxconn kernel/msgmax net/ipv4/ip_unprivileged_port_start"
    assert shell(there["tuned.1"], tuned) == "1234\n12345\n0"
    assert shell(there["named.1"], 'hostname; pwd; echo "$ODD"') == "a-name\n/srv\nä=$x"
    words = ["docker", "inspect", "-f", "{{json .State.Health}}", there["healthy.1"].container]
    health = json.loads(there["healthy.1"].node.execute(words).stdout)
    assert (health["Status"], health["FailingStreak"]) == ("healthy", 0)


def served(task: Task) -> list[str]:
    """The token of the server and its count, asked through the port of its node."""
    return task.node.execute(["curl", "-s", "--max-time", "5", "http://127.0.0.1:8181/"]).stdout.split()


def starts(api: Api) -> dict[str, tuple[str, str]]:
    """How each workload of the stack came up last, and why so."""
    found = {item["metadata"]["name"]: item["status"].get("lastStart", {}) for item in api.list("workloads")}
    return {
        name: (start.get("how", ""), start.get("reason", ""))
        for name, start in found.items()
        if name.startswith("kinds-")
    }


@pytest.mark.timeout(500)
def test_every_kind_of_service_goes_on_when_its_placement_changes(lab: Lab, api: Api) -> None:
    (lab.settings.shared / ".lab").mkdir(exist_ok=True)
    ensure_network(lab)
    join_network(lab, ["n2", "n3"])
    label(lab, "kinds", n2="yes", n3="no")
    api.apply(policy("kinds", every="1h", selector={"stack": "kinds"}))
    deploy(lab, "sword")

    def all_run() -> bool:
        found = tasks(lab)
        return len(found) == COUNT_OF_TASKS and all(map(said, found.values()))

    wait_until("all tasks to run", all_run, limit_s=120)
    before = tasks(lab)
    assert {task.node.name for task in before.values()} == {"n2"}

    def claimed() -> int:
        holders = [item["status"].get("claim", {}).get("node") for item in api.list("workloads")]
        return holders.count("n2") == COUNT_OF_TASKS

    wait_until("all to be claimed", claimed, limit_s=60)
    assert served(before["posted.1"])[1] == "1"
    tokens = {name: said(task)[0][0] for name, task in before.items()}
    counts = {name: said(task)[-1][1] for name, task in before.items()}

    label(lab, "kinds", n3="yes", n2="no")

    def all_moved() -> bool:
        found = tasks(lab)
        return len(found) == COUNT_OF_TASKS and all(task.node.name == "n3" for task in found.values())

    wait_until("all to be on n3", all_moved, limit_s=120)
    there = tasks(lab)
    try:
        restored = {("Restored", "Reschedule")}
        wait_until("all to be told as restored", lambda: set(starts(api).values()) == restored, limit_s=30)
    except LabError:
        trouble = [line for line in api.run("get", "events").splitlines() if " Warning " in line]
        pytest.fail("\n".join([str(starts(api)), *trouble]))
    for name, task in there.items():
        if name != "posted.1":
            wait_until(f"{name} to count", partial(said, task), limit_s=20)
            token, count = said(task)[0]
            assert token == tokens[name], f"{name} started fresh"
            assert count >= counts[name], name
    assert served(there["posted.1"]) == [tokens["posted.1"], "2"]
    assert_as_configured(there)
    assert len(starts(api)) == COUNT_OF_TASKS

    # Another secret is another service to the process that has read the old one, and the others go on.
    deploy(lab, "spear")

    def rotated() -> bool:
        task = tasks(lab).get("secretive.1")
        return task is not None and task != there["secretive.1"] and bool(said(task))

    wait_until("the service with the secret to be updated", rotated, limit_s=60)
    now = tasks(lab)
    assert shell(now["secretive.1"], "cat /run/secrets/word") == "spearfish"
    assert said(now["secretive.1"])[0][0] != tokens["secretive.1"]
    assert {name for name, task in now.items() if task != there[name]} == {"secretive.1"}
    wait_until("that to be told", lambda: ("Fresh", "SpecChanged") in starts(api).values(), limit_s=30)


def test_a_global_service_goes_on_where_it_was_when_its_node_is_drained_and_active_again(lab: Lab, api: Api) -> None:
    everywhere = Service(lab, "everywhere")
    api.apply(policy("everywhere", every="1h"))
    everywhere.create("shell", "sh", "-c", COUNT, options=("--mode", "global"))

    def on_n2(other_than: str = "") -> Task | None:
        container = lab.running_container("n2", "everywhere")
        return Task(lab.node("n2"), container) if container and container != other_than else None

    def claims() -> list[str]:
        return [item["status"].get("claim", {}).get("node", "") for item in api.list("workloads")]

    wait_until("a task on each node", lambda: on_n2() and {"n1", "n2", "n3"} <= {*claims()}, limit_s=60)
    task = on_n2()
    assert task is not None
    token, _ = said(task)[0]
    availability(lab, n2="drain")
    wait_until("the task to be gone", lambda: on_n2() is None, limit_s=60)
    availability(lab, n2="active")
    wait_until("a task to be there again", lambda: on_n2(other_than=task.container), limit_s=60)
    back = on_n2()
    assert back is not None
    wait_until("it to count", lambda: said(back), limit_s=20)
    assert said(back)[0][0] == token
