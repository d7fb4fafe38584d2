"""Running `runc checkpoint`: a stand-in for runc, with a child that behaves like CRIU as far as writing files goes."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from swarmkeep.agent.runtime import dump as module
from swarmkeep.agent.runtime.dump import Dumper, DumpRequest
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.errors import DumpFailed

from .test_dump_stats import WRITTEN_BY_CRIU_4_2_1

CRIU_THAT_WRITES = "sh -c 'trap \"\" XFSZ; while echo x >> $0/pages; do sleep 0.01; done' $work/../image\nexit 1"

Runc = Callable[[str], Path]
Request = Callable[..., DumpRequest]


@pytest.fixture
def runc(tmp_path: Path) -> Runc:
    """Makes a runc that writes down its arguments and then does what `body` says; $work is its work folder."""

    def make(body: str) -> Path:
        program = tmp_path / "runc"
        program.write_text(
            f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\nwork={tmp_path}/work\nexec 3>> {tmp_path}/criu-calls 7>&3\n'
            f"cp {tmp_path}/stats $work/stats-dump\n{body}\n"
        )
        program.chmod(0o755)
        return program

    (tmp_path / "stats").write_bytes(WRITTEN_BY_CRIU_4_2_1)
    return make


@pytest.fixture
def request_dump(tmp_path: Path) -> Request:
    for name in ("image", "work", "root/abc"):
        (tmp_path / name).mkdir(parents=True)

    def request(*, leave_running: bool = True, tcp: str = "Close", limit_s: float = 20) -> DumpRequest:
        return DumpRequest("abc", os.getpid(), tmp_path / "image", tmp_path / "work", leave_running, tcp, limit_s)

    return request


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], str]:
    return lambda: (tmp_path / "calls").read_text()


def dumper(runc: Path, tmp_path: Path) -> Dumper:
    return Dumper(runc, tmp_path / "root", None, Restores(tmp_path / "restores"))


async def test_dumps_and_tells_crius_figures(
    runc: Runc, request_dump: Request, calls: Callable[[], str], tmp_path: Path
) -> None:
    result = await dumper(runc("exit 0"), tmp_path).dump(request_dump())
    assert result.stats_status()["pagesWritten"] == 183634
    words = calls().split()
    assert words[:2] == ["--root", str(tmp_path / "root")]
    assert {"--leave-running", "--tcp-established", "--tcp-skip-in-flight", "--file-locks"} < set(words)
    assert words[-1] == "abc"


async def test_lets_criu_end_the_processes_of_a_final_version(
    runc: Runc, request_dump: Request, calls: Callable[[], str], tmp_path: Path
) -> None:
    await dumper(runc("exit 0"), tmp_path).dump(request_dump(leave_running=False, tcp="Refuse"))
    assert "--leave-running" not in calls()
    assert "--tcp-established" not in calls()


LIKE_RUNC = "criu swrk 7\ntouch $work/../image/descriptors.json\ncriu swrk 3"
"""Asks CRIU for its version, and later lets it dump, each time through the descriptor that it names."""


@pytest.fixture
def criu_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A CRIU that says what it was called with to the one who called it."""
    program = tmp_path / "bin/criu"
    program.parent.mkdir()
    body = f'eval "echo $2 >&$2"\n[ "$2" = 7 ] || touch {tmp_path}/work/dump.log\n'
    program.write_text(f"#!/bin/sh\n{body}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    log = tmp_path / "criu-calls"
    return lambda: log.read_text().split() if log.exists() else []


async def test_starts_runc_before_the_container_stands_still_and_criu_after(
    runc: Runc, request_dump: Request, criu_calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    request, ours = request_dump(), dumper(runc(LIKE_RUNC), tmp_path)
    begun = await ours.begin(request)
    assert begun is not None
    await asyncio.sleep(0.5)
    assert (tmp_path / "image/descriptors.json").exists()
    assert criu_calls() == ["7"]
    result = await ours.dump(request, begun)
    assert criu_calls() == ["7", "3"]
    assert result.stats.pages_written == 183634


async def test_a_dump_goes_before_other_processes(
    runc: Runc, request_dump: Request, criu_calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    told = f"nice > {tmp_path}/nice\ncat /proc/$$/autogroup > {tmp_path}/group\n"
    (tmp_path / "bin/criu").write_text(f"#!/bin/sh\n{told}")
    await dumper(runc("sleep 0.2; criu swrk 3"), tmp_path).dump(request_dump())
    assert (tmp_path / "nice").read_text() == f"{module.NICE}\n"
    assert f"nice {module.NICE}" in (tmp_path / "group").read_text()


async def test_what_was_begun_and_is_not_wanted_dumps_nothing(
    runc: Runc, request_dump: Request, criu_calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    request, ours = request_dump(), dumper(runc(LIKE_RUNC), tmp_path)
    begun = await ours.begin(request)
    assert begun is not None
    started = time.monotonic()
    await ours.abandon(request, begun)
    assert time.monotonic() - started < module.GIVE_UP_S
    assert begun.process.returncode != 0
    assert "3" not in criu_calls()


async def test_an_agent_that_dies_before_the_container_stands_still_leaves_nobody_waiting(
    runc: Runc, request_dump: Request, criu_calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    request, ours = request_dump(), dumper(runc(LIKE_RUNC), tmp_path)
    begun = await ours.begin(request)
    assert begun is not None
    await asyncio.sleep(0.5)
    assert (tmp_path / "image/descriptors.json").exists()
    os.close(begun.gate)
    assert await begun.process.wait() != 0
    assert criu_calls() == ["7"]


async def test_who_comes_to_the_gate_of_an_agent_that_is_dead_does_not_wait(
    request_dump: Request, criu_calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    request = request_dump()
    (request.image_dir / "descriptors.json").touch()
    gate = request.work_dir / module.GATE
    os.mkfifo(gate)
    environment = {**os.environ, "SWARMKEEP_GATE": str(gate), "SWARMKEEP_IMAGE": str(request.image_dir)}
    late = await asyncio.create_subprocess_exec(module.WRAPPER / "criu", "swrk", "3", env=environment)
    async with asyncio.timeout(10):
        assert await late.wait() == 1
    assert criu_calls() == []


async def test_dumps_again_where_criu_does_not_wait_and_never_begins_early_again(
    runc: Runc, request_dump: Request, criu_calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    """What CRIU has dumped by then is of another instant than the writable layer."""
    body = f"[ -e {tmp_path}/frozen ] || echo early > $work/../image/pages\ncriu swrk 3"
    request, ours = request_dump(), dumper(runc(body), tmp_path)
    begun = await ours.begin(request)
    assert begun is not None
    await begun.process.wait()
    (tmp_path / "frozen").touch()
    await ours.dump(request, begun)
    assert criu_calls() == ["3", "3"]
    assert not (tmp_path / "image/pages").exists()
    assert await ours.begin(request) is None


async def test_without_the_program_before_criu_nothing_begins_early(
    runc: Runc, request_dump: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRAPPER", tmp_path / "nowhere")
    assert await dumper(runc("exit 0"), tmp_path).begin(request_dump()) is None


async def test_a_whole_dump_counts_even_without_its_figures(runc: Runc, request_dump: Request, tmp_path: Path) -> None:
    result = await dumper(runc("rm $work/stats-dump"), tmp_path).dump(request_dump())
    assert result.stats.pages_written == 0


async def test_says_why_it_failed(runc: Runc, request_dump: Request, tmp_path: Path) -> None:
    line = "(0.1) Error (criu/files-ext.c:98): Cannot dump file 3 of that type [600] ([io_uring])"
    body = f"echo '{line}' > $work/dump.log; exit 1"
    with pytest.raises(DumpFailed, match=r"io_uring.*CRIU: Error \(criu/files-ext.c:98\)"):
        await dumper(runc(body), tmp_path).dump(request_dump())


async def test_says_so_when_there_is_no_runc(request_dump: Request, tmp_path: Path) -> None:
    with pytest.raises(DumpFailed, match=r"agent\.runc"):
        await dumper(tmp_path / "nowhere", tmp_path).dump(request_dump())


async def test_a_dump_that_takes_too_long_fails_at_its_next_write(
    runc: Runc, request_dump: Request, tmp_path: Path
) -> None:
    """The stand-in for CRIU goes on after the failed write, as CRIU does to take everything back."""
    begun = time.monotonic()
    with pytest.raises(DumpFailed, match="was given up; the container runs on"):
        await dumper(runc(CRIU_THAT_WRITES), tmp_path).dump(request_dump(limit_s=0.5))
    assert time.monotonic() - begun < module.GIVE_UP_S


async def test_a_cancelled_dump_is_ended_first(runc: Runc, request_dump: Request, tmp_path: Path) -> None:
    running = asyncio.ensure_future(dumper(runc(CRIU_THAT_WRITES), tmp_path).dump(request_dump()))
    await asyncio.sleep(0.5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    size = os.stat(tmp_path / "image/pages").st_size
    await asyncio.sleep(0.1)
    assert os.stat(tmp_path / "image/pages").st_size == size


async def test_a_dump_that_cannot_be_made_to_fail_is_killed(
    runc: Runc, request_dump: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GIVE_UP_S", 0.2)
    unlocked: list[int] = []

    async def unlock(pid: int) -> None:
        unlocked.append(pid)

    monkeypatch.setattr(module, "_unlock_network", unlock)
    with pytest.raises(DumpFailed, match="was given up"):
        await dumper(runc("sleep 60 & wait"), tmp_path).dump(request_dump(limit_s=0.3))
    assert unlocked == [os.getpid()]


async def test_a_final_dump_that_was_whole_before_it_was_ended_counts(
    runc: Runc, request_dump: Request, tmp_path: Path
) -> None:
    """CRIU ends the processes only when everything is written: what fails afterwards takes nothing back."""
    body = "echo '(00.66) Unfreezing tasks into 2' > $work/dump.log; exit 1"
    result = await dumper(runc(body), tmp_path).dump(request_dump(leave_running=False))
    assert result.stats.pages_written == 183634
    with pytest.raises(DumpFailed):
        await dumper(runc(body), tmp_path).dump(request_dump())


async def test_gives_criu_more_options_where_the_shim_made_room_for_them(
    runc: Runc, request_dump: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "runc.conf"
    own.write_text("ext-unix-sk")
    monkeypatch.setattr(module, "CRIU_CONF", own)
    conf = tmp_path / "shim/abc/criu.conf"
    conf.parent.mkdir(parents=True)
    state = tmp_path / "root/abc/state.json"
    state.write_text(json.dumps({"config": {"labels": ["bundle=/b", f"org.criu.config={conf}"]}}))
    await dumper(runc("exit 0"), tmp_path).dump(request_dump())
    assert conf.read_text().split() == ["ext-unix-sk", "ghost-limit", "1024G", "network-lock", "skip", "tcp-close"]
    await dumper(runc("exit 0"), tmp_path).dump(request_dump(tcp="Refuse"))
    assert "tcp-close" not in conf.read_text()
    assert "network-lock skip" in conf.read_text()


async def test_connections_that_are_to_go_on_are_dumped_whole_with_the_network_held_still(
    runc: Runc, request_dump: Request, calls: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CRIU_CONF", tmp_path / "none")
    conf = tmp_path / "shim/abc/criu.conf"
    conf.parent.mkdir(parents=True)
    (tmp_path / "root/abc/state.json").write_text(json.dumps({"config": {"labels": [f"org.criu.config={conf}"]}}))
    await dumper(runc("exit 0"), tmp_path).dump(request_dump(leave_running=False, tcp="Established"))
    assert conf.read_text().split() == ["ghost-limit", "1024G"]
    assert "--tcp-established" in calls()


async def test_tells_criu_what_the_container_watches(
    runc: Runc, request_dump: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "shim/abc/criu.conf"
    conf.parent.mkdir(parents=True)
    state = tmp_path / "root/abc/state.json"
    state.write_text(json.dumps({"config": {"labels": [f"org.criu.config={conf}"]}}))
    ours = dumper(runc("exit 0"), tmp_path)
    monkeypatch.setattr(ours, "_watched", lambda _: ["/etc/app", "/with a space", "/srv"])
    await ours.dump(request_dump())
    lines = [line for line in conf.read_text().splitlines() if line.startswith("irmap")]
    assert lines == ["irmap-scan-path /etc/app", "irmap-scan-path /srv"]


async def test_leaves_a_users_own_options_file_alone(runc: Runc, request_dump: Request, tmp_path: Path) -> None:
    conf = tmp_path / "mine.conf"
    conf.write_text("tcp-close\n")
    state = tmp_path / "root/abc/state.json"
    state.write_text(json.dumps({"config": {"labels": [f"org.criu.config={conf}"]}}))
    await dumper(runc("exit 0"), tmp_path).dump(request_dump())
    assert conf.read_text() == "tcp-close\n"


async def test_waits_for_a_lazy_restore_and_not_for_ever(runc: Runc, request_dump: Request, tmp_path: Path) -> None:
    pid = tmp_path / "restores/abc/lazy-pages.pid"
    pid.parent.mkdir(parents=True)
    pid.write_text(str(os.getpid()))
    with pytest.raises(DumpFailed, match="still being read"):
        await dumper(runc("exit 0"), tmp_path).dump(request_dump(limit_s=0.2))
    running = asyncio.ensure_future(dumper(runc("exit 0"), tmp_path).dump(request_dump()))
    await asyncio.sleep(0.1)
    assert not running.done()
    pid.unlink()
    await running


def test_the_program_that_stands_before_criu_may_be_run(tmp_path: Path) -> None:
    """An installation that lost the permission would kill containers' dumps instead of failing them."""
    assert os.access(module.WRAPPER / "criu", os.X_OK)


async def test_what_the_container_stood_still_before_counts(runc: Runc, request_dump: Request, tmp_path: Path) -> None:
    request = replace(request_dump(limit_s=20), stood_still_s=19.5)
    begun = time.monotonic()
    with pytest.raises(DumpFailed, match=r"longer than the 20 s that checkpoint\.maxFreeze allows"):
        await dumper(runc(CRIU_THAT_WRITES), tmp_path).dump(request)
    assert time.monotonic() - begun < 0.5 + module.GIVE_UP_S


async def test_another_agent_sees_whether_a_dump_still_goes_on(
    runc: Runc, request_dump: Request, tmp_path: Path
) -> None:
    request = request_dump(leave_running=False)
    assert not module.is_dumping(request.work_dir)
    body = f"echo '(00.66) {module.ENDED}' > $work/dump.log; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    running = asyncio.ensure_future(dumper(runc(body), tmp_path).dump(request))
    await asyncio.sleep(0.5)
    assert module.has_ended_processes(request.work_dir)
    assert module.is_dumping(request.work_dir)
    (tmp_path / "go").touch()
    await running
    assert not module.is_dumping(request.work_dir)


STATUS = "Name:\tx\nUid:\t{uid}\t{uid}\t{euid}\t0\nGid:\t{gid}\t{gid}\t{gid}\t0\nCapEff:\t{caps}\n"
ALL, WITHOUT_SYS_RESOURCE = "000001ffffffffff", "000001fffeffffff"


@pytest.mark.parametrize(
    ("caps", "uid", "euid", "expected"),
    [
        (ALL, 101, 101, {}),
        (WITHOUT_SYS_RESOURCE, 0, 0, {}),
        (WITHOUT_SYS_RESOURCE, 101, 101, {"SWARMKEEP_RUID": "101", "SWARMKEEP_RGID": "104"}),
        # Of a process that is two users at once nobody but the privileged may read limits.
        (WITHOUT_SYS_RESOURCE, 101, 102, {}),
    ],
)
def test_criu_is_the_containers_user_only_where_it_must(
    tmp_path: Path, caps: str, uid: int, euid: int, expected: dict[str, str]
) -> None:
    for name, ids in (("self", (0, 0, 0)), ("7", (uid, euid, 104))):
        (tmp_path / name).mkdir()
        text = STATUS.format(uid=ids[0], euid=ids[1], gid=ids[2], caps=caps)
        (tmp_path / name / "status").write_text(text)
    assert module._identity(7, tmp_path) == expected
    assert module._identity(8, tmp_path) == {}


async def test_the_program_before_criu_takes_on_the_real_user_and_keeps_the_rest(tmp_path: Path) -> None:
    for name in ("setpriv", "criu"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SWARMKEEP_CRIU": str(tmp_path / "criu")}

    async def said(**more: str) -> str:
        process = await asyncio.create_subprocess_exec(
            module.WRAPPER / "criu", "swrk", "3", env=environment | more, stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate())[0].decode().strip()

    assert await said() == "criu swrk 3"
    assert (
        await said(SWARMKEEP_RUID="101", SWARMKEEP_RGID="104")
        == f"setpriv --ruid 101 --rgid 104 --keep-groups -- {tmp_path}/criu swrk 3"
    )


async def test_a_dump_that_nobody_may_make_fail_is_waited_for_instead_of_killed(
    runc: Runc, request_dump: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "prlimit", refuse)
    monkeypatch.setattr(module, "GIVE_UP_S", 0.1)
    # Whole a second after its time: had it been killed, the container might have been harmed.
    result = await dumper(runc("sleep 1.5 & wait; exit 0"), tmp_path).dump(request_dump(limit_s=0.3))
    assert result.stats_status()["pagesWritten"] == 183634
