"""PostgreSQL, a multi-threaded Python server, Node.js and nginx go on after a drain, and after a power cut."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import (
    Api,
    HttpWriter,
    Service,
    SqlWriter,
    Writer,
    availability,
    join_network,
    label,
    now,
    policy,
)

PROGRAMS = Path(__file__).parent / "programs"
NGINX = r"""printf 'server { listen 8000; location / { return 200 "$connection "; } }' > /etc/nginx/conf.d/next.conf
sed -i 's/^user.*/user root;/; s/^worker_processes.*/worker_processes 2;/' /etc/nginx/nginx.conf
exec nginx -g 'daemon off; error_log stderr;'"""
LABEL = "kept=really"
PARALLEL = ("SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0", "SET min_parallel_table_scan_size = 0")


class Web(Service):
    """A service that answers over HTTP."""

    def ask(self, path: str) -> Any:
        """The JSON that it answers, asked from inside its network."""
        words = ["docker", "exec", f"writer-{self.name}", "python3", "-c"]
        program = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"
        return json.loads(self.lab.execute("n1", [*words, program, f"http://{self.name}:8000{path}"]).stdout)


def sql(service: Service, *texts: str) -> str:
    """What the last of some statements answers."""
    return service.execute("psql", "-qAt", *(word for text in texts for word in ("-c", text)))


def assert_goes_on(writer: Writer, since: float) -> None:
    """No acknowledged value was smaller than one before it, and none came twice: but for a number of a connection."""
    values = [value for at, value in writer.samples() if at > since]
    assert values == sorted(values)
    assert type(writer) is HttpWriter or len(set(values)) == len(values)


def taken_at(api: Api, workload: str, version: int) -> float:
    checkpoint = api.get("checkpoint", f"{workload}-v{version}")
    return datetime.fromisoformat(checkpoint["status"]["takenAt"]).timestamp()


def assert_good_database(postgres: Service, acknowledged: list[int]) -> None:
    """Every committed row is there, indexes agree with tables, and all processes of the server do their work."""
    found = set(map(int, sql(postgres, "SELECT id FROM t").split()))
    assert acknowledged
    assert set(acknowledged) <= found
    # Every row is in the index, and the index is in order: amcheck raises otherwise.
    sql(postgres, "CREATE EXTENSION IF NOT EXISTS amcheck", "SELECT bt_index_check('t_pkey', true)")
    assert sql(postgres, "SELECT count(*) FROM big WHERE m = md5(i::text)") == "100000"
    # A checkpoint of the database's own, by its checkpointer, and parallel workers with segments of shared memory.
    sql(postgres, "CHECKPOINT")
    assert sql(postgres, *PARALLEL, "SELECT sum(i) FROM big") == "5000050000"
    assert "Workers Launched: 2" in sql(postgres, *PARALLEL, "EXPLAIN (ANALYZE) SELECT sum(i) FROM big")


def assert_good_python(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name in ("started", "deleted", "segment", "alive", "zombie"):
        assert after[name] == before[name], name
    for name in ("next", "threads", "timers", "itimer", "timerfd", "lines"):
        assert after[name] > before[name], name
    assert (after["alive"], after["zombie"], after["deleted"], after["segment"]) == (8, "Z", *[after["started"]] * 2)
    assert (after["child"], after["echo"], after["eventfd"], after["inotify"]) == ("PING", "cba", 7, True)
    assert after["shared"] == 1


def assert_good_node(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert after["started"] == before["started"]
    assert after["good"] == 20_000
    for name in ("next", "ticks", "worker", "lines"):
        assert after[name] > before[name], name


@pytest.mark.timeout(500)
def test_real_servers_go_on_after_a_drain_and_after_a_power_cut(lab: Lab, api: Api) -> None:
    postgres, nginx = Service(lab, "postgres"), Service(lab, "nginx")
    python, node = Web(lab, "python"), Web(lab, "node")
    services = (postgres, python, node, nginx)
    api.apply(policy("really", every="3s", selector={"matchLabels": {"kept": "really"}}, retention={"keepLast": 50}))
    options = ("--constraint", "node.labels.really==yes", "--label", LABEL, "--container-label", LABEL)
    # All on n2, and later all on n3: a drain takes final versions of all of them.
    label(lab, "really", n2="yes", n3="no")
    postgres.create("postgres", options=options)
    python.create("python", "python3", "-c", (PROGRAMS / "everything.py").read_text(), options=options)
    node.create("node", "node", "-e", (PROGRAMS / "everything.js").read_text(), options=options)
    nginx.create("nginx", "sh", "-c", NGINX, options=options)
    wait_until("PostgreSQL to answer", lambda: sql(postgres, "SELECT 1") == "1", limit_s=30)
    sql(postgres, "CREATE TABLE t (id serial PRIMARY KEY, at timestamptz DEFAULT now())")
    sql(postgres, "CREATE TABLE big AS SELECT i, md5(i::text) AS m FROM generate_series(1, 100000) i")
    join_network(lab, ["n2", "n3"])
    writers: dict[str, Writer] = {"postgres": SqlWriter(lab, "n1", "postgres", key="t")}
    for service, path in ((python, "8000/next"), (node, "8000/next"), (nginx, "8000/")):
        writers[service.name] = HttpWriter(lab, "n1", service.name, key=path)
    for writer in writers.values():
        writer.start()
    workloads = [f"{service.name}.1" for service in services]
    for name in workloads:
        api.wait_version(name, 1)
    before = {service.name: service.ask("/state") for service in (python, node)}

    homes = {service.name: service.wait_running() for service in services}
    assert {task.node.name for task in homes.values()} == {"n2"}
    label(lab, "really", n3="yes")
    drained_at = now()
    availability(lab, n2="drain", n3="active")
    tasks = {service.name: service.wait_running(other_than=homes[service.name].container) for service in services}
    there_at = now()
    for name, writer in writers.items():
        writer.first_after(there_at)
        print(f"{name}: longest pause over the drain {writer.longest_pause(drained_at):.1f} s")
        assert_goes_on(writer, drained_at - 1)
    assert {task.node.name for task in tasks.values()} == {"n3"}
    assert_good_database(postgres, [value for _, value in writers["postgres"].samples()])
    after = {service.name: service.ask("/state") for service in (python, node)}
    assert_good_python(before["python"], after["python"])
    assert_good_node(before["node"], after["node"])

    availability(lab, n2="active", n3="active")
    for name in workloads:
        api.wait_version(name, api.newest_version(name) + 2)
    cut_at = now()
    lab.kill("n3")
    for service in services:
        service.wait_running(other_than=tasks[service.name].container, limit_s=90)
    there_at = now()
    for name, writer in writers.items():
        _, value = writer.first_after(there_at)
        start = api.get("workload", f"{name}.1")["status"]["lastStart"]
        assert (start["how"], start["reason"]) == ("Restored", "NodeLoss"), name
        at = taken_at(api, f"{name}.1", start["version"])
        assert cut_at - at < 30
        assert value >= writer.last_before(at)[1], name
        assert_goes_on(writer, cut_at + 0.2)
    at = taken_at(api, "postgres.1", api.get("workload", "postgres.1")["status"]["lastStart"]["version"])
    samples = writers["postgres"].samples()
    assert_good_database(postgres, [value for moment, value in samples if moment < at or moment > cut_at + 0.2])
    last = {service.name: service.ask("/state") for service in (python, node)}
    assert_good_python(after["python"], last["python"])
    assert_good_node(after["node"], last["node"])
