"""What a user reads when a container cannot be dumped. The logs are CRIU's own."""

from __future__ import annotations

import pytest

from swarmkeep.agent.runtime.dump_errors import error_lines, explain, may_pass

CONNECTED = """\
(00.000947) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.027800) Dumping opened files (pid: 437)
(00.031001) Error (criu/sk-inet.c:200): inet: Connected TCP socket, consider using --tcp-established option.
(00.031050) Error (criu/cr-dump.c:1545): Dump files (pid: 437) failed with -1
(00.031250) Error (criu/cr-dump.c:1975): Dumping FAILED.
"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "Error (criu/sk-inet.c:200): inet: Connected TCP socket, consider using --tcp-established option.",
            "tcp: Refuse",
        ),
        ("Error (criu/sk-inet.c:205): inet: In-flight connection (l) for 1b", "just being made"),
        (
            "Error (criu/sk-unix.c:903): unix: External socket is used. Consider using --ext-unix-sk option.",
            "unix socket",
        ),
        ("Error (criu/fsnotify.c:284): fsnotify: \tCan't dump that handle", "watches a file or folder"),
        ("Error (criu/files-ext.c:98): Can't dump file 7 of that type [600] (unknown [io_uring])", "io_uring"),
        ("Error (criu/files-ext.c:98): Can't dump file 7 of that type [20666] (chr 195:0)", "device"),
        ("Error (criu/tty.c:410): tty: Found slave peer index 0 without correspond master peer", "terminal"),
        ("Error (criu/files-reg.c:1031): Can't dump ghost file /tmp/x of 3002368 size, increase limit", "ghost-limit"),
        ("Error (criu/cr-dump.c:389): Can't get rlimit 0: Operation not permitted", "CAP_SYS_RESOURCE"),
        ("Error (criu/namespaces.c:527): Can't dump nested pid namespace for 12", "namespaces of its own"),
        ("Error (criu/mount.c:600): mnt: 145:./x doesn't have a proper root mount", "mounts"),
        ("Error (compel/src/lib/infect.c:138): Can't seize task 12: Operation not permitted", "traced"),
        ("Error (criu/pagemap.c:1): write: No space left on device", "no space"),
        ("Error (criu/sockets.c:128): Can't get 1:16 opt: Operation not supported", "too old"),
    ],
)
def test_names_the_cause_and_quotes_criu(line: str, words: str) -> None:
    text = explain(f"(00.1) {line}\n(00.2) Error (criu/cr-dump.c:1975): Dumping FAILED.\n", "")
    assert words in text.partition(" CRIU: ")[0]
    assert line in text


def test_leaves_out_what_is_no_cause() -> None:
    lines = error_lines(CONNECTED)
    assert len(lines) == 3
    assert lines[0].startswith("Error (criu/sk-inet.c:200)")


def test_quotes_runc_when_criu_never_ran() -> None:
    text = explain("", 'time="x" level=error msg="exec: \\"criu\\": executable file not found in $PATH"\n')
    assert text.startswith("CRIU is not installed")


def test_says_that_it_does_not_know() -> None:
    assert "does not know" in explain("(00.1) Error (criu/x.c:1): the moon is full\n", "")
    assert "nothing was written" in explain("", "")


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("Error (criu/sk-unix.c:903): unix: External socket is used. Consider using --ext-unix-sk option.", True),
        ("Error (criu/sk-inet.c:205): inet: In-flight connection (l) for 1b", True),
        ("Error (criu/files-ext.c:98): Can't dump file 7 of that type [20666] (chr 195:0)", False),
        ("Error (criu/cr-dump.c:389): Can't get rlimit 0: Operation not permitted", False),
    ],
)
def test_tells_what_may_be_gone_a_moment_later(line: str, passes: bool) -> None:
    assert may_pass(f"(00.1) {line}\n(00.2) Error (criu/cr-dump.c:1975): Dumping FAILED.\n") is passes
