"""Each verb as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..servers import Pki, api_server, etcd_member
from .conftest import Cli

pytestmark = pytest.mark.etcd

API = "swarmkeep.dev/v1alpha1"


def policy(name: str = "redis", every: str = "30s", **spec: Any) -> dict[str, Any]:
    wanted = {"selector": {"service": name}, "schedule": {"every": every}, "storage": ["main"], **spec}
    return {"apiVersion": API, "kind": "CheckpointPolicy", "metadata": {"name": name}, "spec": wanted}


def workload(name: str = "redis.1") -> dict[str, Any]:
    spec = {"policy": "redis", "type": "ReplicatedTask", "service": {"id": "s1", "name": "redis"}, "slot": 1}
    return {"apiVersion": API, "kind": "Workload", "metadata": {"name": name}, "spec": spec}


def set_status(cli: Cli, kind: str, name: str, **status: Any) -> None:
    cli.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_apply_creates_changes_and_leaves_alone(cli: Cli) -> None:
    path = cli.file("p.yaml", policy())
    title = "checkpointpolicy.swarmkeep.dev/redis"
    assert cli.run("apply", "-f", path, "--dry-run=server") == f"{title} created (server dry run)\n"
    assert cli.run("apply", "-f", path) == f"{title} created\n"
    assert cli.run("apply", "-f", path) == f"{title} unchanged\n"
    cli.file("p.yaml", policy(every="1m"))
    assert cli.run("apply", "-f", path, "--dry-run=server") == f"{title} configured (server dry run)\n"
    assert cli.run("apply", "-f", path) == f"{title} configured\n"
    assert cli.run("get", "cpol", "redis", "-o", "jsonpath={.spec.schedule.every}") == "1m"


def test_apply_takes_back_what_a_file_no_longer_says(cli: Cli) -> None:
    path = cli.file("p.yaml", policy(retention={"keepLast": 9}))
    cli.run("apply", "-f", path)
    cli.file("p.yaml", policy())
    cli.run("apply", "-f", path)
    assert cli.run("get", "cpol", "redis", "-o", "jsonpath={.spec.retention.keepLast}") == "5"


def test_apply_reads_folders_standard_input_and_several_documents(cli: Cli) -> None:
    cli.file("deep/a.yaml", policy("a"), policy("b"))
    assert cli.run("apply", "-R", "-f", str(cli.folder)).splitlines() == [
        "checkpointpolicy.swarmkeep.dev/a created",
        "checkpointpolicy.swarmkeep.dev/b created",
    ]
    assert "created" in cli.run("apply", "-f", "-", stdin=yaml.safe_dump(policy("c")))


def test_apply_names_file_line_field_and_suggestion_and_goes_on_with_the_rest(cli: Cli) -> None:
    path = cli.file("p.yaml", policy("good"), policy("bad"))
    text = Path(path).read_text().replace("every: 30s", "every: 30s\n    jiter: 5%")
    Path(path).write_text(text.replace("    jiter: 5%\n", "", 1))
    done = cli.tries("apply", "-f", path, code=2)
    assert done.stdout == "checkpointpolicy.swarmkeep.dev/good created\n"
    line = Path(path).read_text().splitlines().index("    jiter: 5%") + 1
    assert done.stderr == (
        f'{path}: CheckpointPolicy "bad" is invalid:\n'
        f'  line {line}: unknown field "spec.schedule.jiter", did you mean "spec.schedule.jitter"?\n'
    )


def test_a_wrong_value_is_named_with_its_line(cli: Cli) -> None:
    text = yaml.safe_dump(policy(), sort_keys=False).replace("30s", "soon")
    line = text.splitlines().index("    every: soon") + 1
    complaint = cli.complaint("apply", "-f", "-", stdin=text, code=2)
    assert complaint.startswith(
        'standard input: CheckpointPolicy "redis" is invalid:\n'
        f'  line {line}: spec.schedule.every: Invalid value: "soon"'
    )


def test_nothing_is_applied_when_a_file_cannot_be_read(cli: Cli) -> None:
    text = f"{yaml.safe_dump(policy())}---\na: [\n"
    assert "standard input, line" in cli.complaint("apply", "-f", "-", stdin=text, code=2)
    assert "not found" in cli.complaint("get", "cpol", "redis", code=1)


def test_a_namespace_is_made_before_what_goes_into_it(cli: Cli) -> None:
    inner = policy()
    inner["metadata"]["namespace"] = f"{cli.namespace}-own"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{cli.namespace}-own"}}
    path = cli.file("p.yaml", inner, space)
    done = subprocess.run(
        [*cli.command()[:3], "apply", "-f", path], capture_output=True, text=True, env=cli.environment, check=True
    )
    assert [line.split("/")[0] for line in done.stdout.splitlines()] == ["namespace", "checkpointpolicy.swarmkeep.dev"]


def test_a_file_may_not_contradict_the_namespace_option(cli: Cli) -> None:
    other = policy()
    other["metadata"]["namespace"] = "other"
    path = cli.file("p.yaml", other)
    assert f"namespace 'other' is not the '{cli.namespace}' of -n" in cli.complaint("apply", "-f", path, code=2)


def test_a_kind_that_is_not_served_is_named_with_what_is_near(cli: Cli) -> None:
    text = yaml.safe_dump({**policy(), "kind": "CheckpointPolice"})
    complaint = cli.complaint("apply", "-f", "-", stdin=text, code=2)
    assert 'no matches for kind "CheckpointPolice"' in complaint
    assert "did you mean CheckpointPolicy in swarmkeep.dev/v1alpha1?" in complaint


def test_get_prints_what_kubectl_prints(cli: Cli) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", policy(), policy("a"), workload(), workload("redis.2")))
    set_status(cli, "wl", "redis.1", phase="Running", claim={"node": "n2", "epoch": 3})
    for arguments in (
        ("get", "wl,cpol", "-o", "name"),
        ("get", "wl", "-o", "json"),
        ("get", "wl", "redis.1", "-o", "yaml"),
        ("get", "cpol,wl", "-o", "yaml"),
        ("get", "crd", "-o", "yaml"),
        ("get", "cpol", "--sort-by=.metadata.name", "-o", "custom-columns=N:.metadata.name,E:.spec.schedule.every"),
        ("get", "wl", "-o", "jsonpath={range .items[*]}{.metadata.name}={.status.phase}{'\\n'}{end}"),
        ("get", "cpol", "redis", "a", "-o", "name"),
        ("get", "wl/redis.1", "cpol/a", "-o", "name"),
    ):
        assert cli.run(*arguments) == cli.kubectl(*arguments), arguments


def test_tables_have_kubectls_columns(cli: Cli) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", policy(), workload()))
    set_status(cli, "wl", "redis.1", phase="Running", claim={"node": "n2", "epoch": 3})

    def cells(text: str) -> list[list[str]]:
        """Words of each line but the last one, the age."""
        return [line.split()[:-1] for line in text.splitlines()]

    for arguments in (
        ("get", "wl"),
        ("get", "wl", "-o", "wide"),
        ("get", "wl", "redis.1"),
        ("get", "wl,cpol"),
        ("get", "wl", "--no-headers"),
        ("get", "wl", "-L", "swarmkeep.dev/policy"),
        ("get", "wl", "-l", "a!=b"),
        ("get", "wl", "--field-selector", "status.phase=Running"),
    ):
        assert cells(cli.run(*arguments)) == cells(cli.kubectl(*arguments)), arguments
    everywhere = cli.run("get", "wl", "-A").splitlines()
    assert everywhere[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert any(line.split()[:2] == [cli.namespace, "redis.1"] for line in everywhere)


def test_get_of_nothing_and_of_what_there_is_not(cli: Cli) -> None:
    assert cli.complaint("get", "wl", code=0) == f"No resources found in {cli.namespace} namespace.\n"
    assert cli.complaint("get", "wl", "x", code=1) == (
        'Error from server (NotFound): workloads.swarmkeep.dev "x" not found\n'
    )
    assert cli.complaint("get", "wl", "x", "--ignore-not-found", code=0) == ""
    assert 'a resource type "worklods", did you mean "workloads"' in cli.complaint("get", "worklods", code=2)


def test_get_follows_changes_until_interrupted(cli: Cli) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", workload()))
    with subprocess.Popen(
        cli.command("get", "wl", "-w"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("NAME")
        assert process.stdout.readline().startswith("redis.1")
        set_status(cli, "wl", "redis.1", phase="Lost")
        assert "Lost" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_watch_writes_plain_lines_when_piped(cli: Cli) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", policy(), workload()))
    with subprocess.Popen(
        cli.command("watch"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        present = {process.stdout.readline().split()[2] for _ in range(2)}
        assert present == {"checkpointpolicy", "workload"}
        set_status(cli, "wl", "redis.1", phase="Running")
        changed = process.stdout.readline()
        assert changed.split()[1:4] == ["modified", "workload", "redis.1"]
        assert "Running" in changed
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_watch_tells_after_an_outage_what_changed_in_it(cli: Cli, tmp_path: Path) -> None:
    pki = Pki.make(tmp_path / "pki")
    with (
        etcd_member(tmp_path) as etcd,
        api_server(tmp_path, pki, etcd) as one,
        api_server(tmp_path, pki, etcd, "two") as two,
    ):
        first, second = (
            replace(cli, kubeconfig=pki.kubeconfig(server.url), namespace="default") for server in (one, two)
        )
        first.run("apply", "-f", first.file("p.yaml", policy("kept"), policy("gone")))
        with subprocess.Popen(
            first.command("watch", "cpol"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=first.environment,
        ) as process:
            assert process.stdout is not None
            assert {process.stdout.readline().split()[3] for _ in range(2)} == {"kept", "gone"}
            one.kill()
            second.run("apply", "-f", second.file("q.yaml", policy("kept", every="7m"), policy("new")))
            second.run("delete", "cpol", "gone")
            one.start()
            told = {tuple(process.stdout.readline().split()[1:4:2]) for _ in range(3)}
            process.send_signal(signal.SIGINT)
            process.wait(20)
            assert process.stderr is not None
            process.stderr.close()
    assert told == {("modified", "kept"), ("added", "new"), ("deleted", "gone")}


def test_watch_redraws_a_terminal_and_leaves_it_as_it_was(cli: Cli) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", policy(), workload()))
    ours, theirs = os.openpty()
    environment = {**cli.environment, "TERM": "xterm", "LINES": "40"}
    with subprocess.Popen(
        cli.command("watch"), stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)

        def read_until(text: bytes) -> bytes:
            seen = b""
            while text not in seen:
                seen += os.read(ours, 65536)
            return seen

        assert b"checkpointpolicies" in read_until(b"redis.1")
        set_status(cli, "wl", "redis.1", phase="Lost")
        read_until(b"Lost")
        process.send_signal(signal.SIGINT)
        read_until(b"\x1b[?1049l")  # the terminal's own screen is back
        assert process.wait(20) == 130
    os.close(ours)


def test_describe_tells_versions_conditions_and_events(cli: Cli) -> None:
    checkpoint = {
        "apiVersion": API,
        "kind": "Checkpoint",
        "metadata": {"name": "redis.1-v1"},
        "spec": {"workload": "redis.1", "reason": "Schedule"},
    }
    cli.run("apply", "-f", cli.file("p.yaml", workload(), checkpoint))
    set_status(cli, "ckpt", "redis.1-v1", phase="Stored", version=1, bytes={"stored": 2048})
    condition = {"type": "Protected", "status": "True", "reason": "Young", "message": "12s old"}
    set_status(cli, "wl", "redis.1", phase="Running", conditions=[condition])
    found = json.loads(cli.run("get", "wl", "redis.1", "-o", "json"))
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e1"},
        "involvedObject": {
            "apiVersion": API,
            "kind": "Workload",
            "name": "redis.1",
            "namespace": cli.namespace,
            "uid": found["metadata"]["uid"],
        },
        "type": "Normal",
        "reason": "Stored",
        "message": "version 1 is stored",
        "lastTimestamp": "2026-01-31T12:00:00Z",
    }
    cli.kubectl("create", "-f", "-", stdin=json.dumps(event))
    text = cli.run("describe", "wl", "redis.1")
    assert text.startswith("Name:            redis.1\n")
    assert "12s old" in text
    assert "2.00 KiB" in text
    assert text.rstrip().endswith("version 1 is stored")
    by_beginning = cli.run("describe", "workload", "red")
    assert by_beginning.splitlines()[0] == text.splitlines()[0]
    assert "not found" in cli.complaint("describe", "wl", "absent", code=1)


def test_diff_says_by_its_code_whether_something_would_change(cli: Cli) -> None:
    path = cli.file("p.yaml", policy())
    created = cli.run("diff", "-f", path, code=1)
    assert "+  name: redis" in created
    cli.run("apply", "-f", path)
    assert cli.run("diff", "-f", path) == ""
    cli.file("p.yaml", policy(every="1m"))
    changed = cli.run("diff", "-f", path, code=1)
    assert "-    every: 30s\n+    every: 1m\n" in changed
    cli.file("p.yaml", policy(every="soon"))
    assert "spec.schedule.every" in cli.complaint("diff", "-f", path, code=2)
    assert "does not exist" in cli.complaint("diff", "-f", "/absent", code=2)


def test_delete_waits_until_finalizers_are_done(cli: Cli) -> None:
    held = policy()
    held["metadata"]["finalizers"] = ["swarmkeep.dev/test"]
    cli.run("apply", "-f", cli.file("p.yaml", held))
    assert "held by their finalizers" in cli.complaint("delete", "cpol", "redis", "--timeout=1s", code=1)
    cli.kubectl("patch", "cpol", "redis", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "not found" in cli.complaint("get", "cpol", "redis", code=1)


def test_delete_by_file_name_label_and_all(cli: Cli) -> None:
    path = cli.file("p.yaml", policy("a"), policy("b"), policy("c"), policy("d"))
    cli.run("apply", "-f", path)
    cli.kubectl("label", "cpol", "b", "x=y")
    where = f" from {cli.namespace} namespace"
    assert cli.run("delete", "cpol", "a", "--dry-run=server") == (
        f'checkpointpolicy.swarmkeep.dev "a" deleted{where} (server dry run)\n'
    )
    assert cli.run("delete", "cpol/a") == f'checkpointpolicy.swarmkeep.dev "a" deleted{where}\n'
    assert '"b" deleted' in cli.run("delete", "cpol", "-l", "x=y")
    assert "which checkpointpolicies?" in cli.complaint("delete", "cpol", code=2)
    assert len(cli.run("delete", "cpol", "--all", "-o", "name").splitlines()) == 2
    assert "not found" in cli.complaint("delete", "-f", path, code=1)
    assert cli.complaint("delete", "-f", path, "--ignore-not-found", code=0) == ""


def test_explain_and_wait_and_version(cli: Cli) -> None:
    assert "<string> -required-" in cli.run("explain", "cpol.spec.schedule")
    assert "did you mean" in cli.complaint("explain", "cpol.spec.schedul", code=2)
    cli.run("apply", "-f", cli.file("p.yaml", workload()))
    set_status(cli, "wl", "redis.1", phase="Running")
    assert "condition met" in cli.run("wait", "wl/redis.1", "--for=jsonpath={.status.phase}=Running")
    assert "timed out" in cli.complaint("wait", "wl/redis.1", "--for=condition=Protected", "--timeout=500ms", code=1)
    assert "Server Version:" in cli.run("version")


def test_a_field_of_another_manager_is_a_conflict_that_can_be_forced(cli: Cli) -> None:
    path = cli.file("p.yaml", policy())
    cli.run("apply", "-f", path, "--field-manager", "somebody")
    cli.file("p.yaml", policy(every="1m"))
    complaint = cli.complaint("apply", "-f", path, code=1)
    assert "Error from server (Conflict)" in complaint
    assert "--force-conflicts" in complaint
    assert "configured" in cli.run("apply", "-f", path, "--force-conflicts")


def test_shells_complete_names_of_objects(cli: Cli) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", workload("redis.1"), workload("redis.2"), workload("other.1")))
    done = subprocess.run(
        cli.command()[:3],
        capture_output=True,
        text=True,
        env={
            **cli.environment,
            "_SWARMKEEP_COMPLETE": "complete_bash",
            "COMP_WORDS": f"swarmkeep get -n {cli.namespace} wl re",
            "COMP_CWORD": "5",
        },
        check=False,
    )
    assert done.stdout.split() == ["redis.1", "redis.2"], done.stderr


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_what_cannot_be_a_name_is_said_in_a_line(cli: Cli, name: str) -> None:
    for verb in (("get", "wl"), ("describe", "wl"), ("delete", "wl")):
        complaint = cli.complaint(*verb, name, code=2)
        assert "Traceback" not in complaint
        assert "name" in complaint
    path = cli.file("p.yaml", policy(name=name))
    assert "Traceback" not in cli.complaint("apply", "-f", path, code=2)


def test_a_path_that_sorts_nothing_is_still_refused(cli: Cli) -> None:
    assert "[[[" in cli.complaint("get", "wl", "--sort-by", "[[[", code=2)


@pytest.mark.parametrize("every", ["0s", "500ms", "0.5s"])
def test_a_schedule_that_nobody_can_keep_is_refused_by_field(cli: Cli, every: str) -> None:
    complaint = cli.complaint("apply", "-f", cli.file("p.yaml", policy(every=every)), code=2)
    assert "spec.schedule.every" in complaint


def test_an_agent_may_not_apply_policies(cli: Cli, server: Any) -> None:
    agent = replace(cli, kubeconfig=server.pki.kubeconfig(server.url, "agent", "n1"))
    complaint = agent.complaint("apply", "-f", cli.file("p.yaml", policy()), code=1)
    assert complaint.startswith("Error from server (Forbidden):")


def test_the_samples_are_accepted(cli: Cli) -> None:
    samples = Path(__file__).parents[3] / "manifests" / "samples"
    assert "created (server dry run)" in cli.run("apply", "-f", str(samples), "--dry-run=server")
