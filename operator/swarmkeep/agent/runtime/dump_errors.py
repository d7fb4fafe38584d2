"""Why a dump failed, in words that a user understands, from what CRIU and runc wrote. Pure on text.

Sources of the patterns: CRIU's messages in criu/*.c, each tried or read in versions 3.17 to 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LINES = 4
"""How many of CRIU's error lines go with the explanation."""
LINE_LENGTH = 300

# The first that matches names the cause; so what is specific stands before what follows from it.
_CAUSES: Sequence[tuple[str, str]] = (
    (
        r"No space left on device|Disk quota exceeded",
        "there is no space where the dump is written: free some, or enlarge the staging folder",
    ),
    (
        r"Connected TCP socket",
        "it has an established TCP connection and the policy says tcp: Refuse; set checkpoint.tcp to Close, or let the "
        "application close its connections",
    ),
    (
        r"Locking network failed|network lock|nftables is not supported",
        "its network could not be held still, which tcp: Established needs: install iptables on the node (or nftables, "
        "with `network-lock nftables` in /etc/criu/runc.conf), or set checkpoint.tcp to Close",
    ),
    (
        r"In-flight connection",
        "a TCP connection is just being made; a moment later it works",
    ),
    (
        r"External socket is used|Can't dump half of stream unix|unix: .*(external|outside)",
        "it is connected over a unix socket to a process outside the container, as through a mounted socket; such a "
        "connection cannot be part of a version",
    ),
    (
        r"fsnotify|irmap",
        "it watches a file or folder (inotify, fanotify) that cannot be found by name: it is deleted already, its name "
        "has spaces, or it lies deep in a large image",
    ),
    (
        r"io_uring",
        "it uses io_uring, which CRIU cannot dump; most programs have a setting to do without",
    ),
    (
        r"\[?(perf_event|bpf|userfaultfd|fanotify|seccomp notify|nvidia)",
        "it holds a kernel object that CRIU cannot dump (see the lines below)",
    ),
    (
        r"Found slave peer index|external tty|Found dangling tty|ttys?:? .*(master|Can't|unsupported)",
        "it has a terminal that belongs to somebody outside the container, as an attached `docker exec -it`; end that "
        "session",
    ),
    (
        r"Can't dump file \d+ of that type \[(0x)?2",
        "it has a device open, as a GPU, a disk or a sound card; what a device holds cannot be part of a version",
    ),
    (
        r"(Unknown|unsupported|Unsupported) (socket|proto|family)|BUG! Unknown socket|Can't dump .*socket|SCTP|vsock",
        "it has a socket of a kind that CRIU cannot dump (see the lines below)",
    ),
    (
        r"netlink.*(queue|data)",
        "it has unread messages from the kernel's network interface; a moment later it may work",
    ),
    (
        r"Can't get rlimit .*not permitted",
        "this node does not give CRIU the capability CAP_SYS_RESOURCE; without it only what runs as root can be dumped",
    ),
    (
        r"Can't dump ghost file",
        "it has a large file open that is deleted already; raise CRIU's limit with `ghost-limit` in "
        "/etc/criu/runc.conf, or let the application close the file",
    ),
    (
        r"link-remap|Can't create link remap|Can't link remap",
        "it has a deleted file open that has other names; CRIU's option link-remap in /etc/criu/runc.conf allows it",
    ),
    (
        r"file.?locks? (are|is) hold|file-lock.*(Error|fail)",
        "it holds file locks that CRIU cannot dump",
    ),
    (
        r"nested (pid|mount|user|net)|Nested .*namespace|namespaces? .*(nested|not supported)|Can't dump nested",
        "it has made namespaces of its own, as a container in the container or a sandboxed browser does; that is not "
        "supported",
    ),
    (
        r"unreachable sharing|doesn't have a proper root mount|(bind )?mount.*(unsupported|Can't|unable)|"
        r"FS mnt .* unsupported|Unsupported fs|mnt: .*(Can't|unsupported|unable)",
        "one of its mounts cannot be part of a version: made inside the container, or of an unsupported file system",
    ),
    (
        r"(being traced|ptrace|SEIZE|[Ss]eize).*(Operation not permitted|failed|traced)|Can't seize|yama",
        "a process in it is being traced, as by a debugger or strace, or the node forbids tracing (sysctl "
        "kernel.yama.ptrace_scope above 2)",
    ),
    (
        r"Timeout reached|Unable to freeze|freezer.*(Unable|failed)",
        "its threads did not stand still in time: one waits for a device or a network file system",
    ),
    (
        r"missing features|[Dd]irty tracking",
        "this node's kernel lacks something that CRIU was asked to use; see the node's features",
    ),
    (
        r"Can't get \d+:\d+ opt.*not supported|vdso: .*(Error|Can't|fail)|kerndat_init|Could not initialize kernel",
        "this node's CRIU is too old for its kernel: CRIU 4.2 or newer is known to work",
    ),
    (
        r"executable file not found|criu.*no such file",
        "CRIU is not installed on this node: install it, version 4.2 or newer",
    ),
    (
        r"container .*(does not exist|is not running|stopped)|process.*is gone",
        "the container ended meanwhile",
    ),
    (
        r"Can't open .*(map_files|/proc/\d+/(fd|root|maps))|No such (process|file).*proc",
        "a process of it ended while it was being dumped; a moment later it works",
    ),
)


# A command run in the container, as a health check is, is no part of it; connections just being made are not whole.
_PASSING = re.compile(
    r"In-flight connection|External socket is used|Can't dump half of stream unix|Found slave peer index|external tty|"
    r"netlink.*(queue|data)|Can't open .*(map_files|/proc/\d+/(fd|root|maps))|No such (process|file).*proc"
)


def may_pass(criu_log: str) -> bool:
    """Whether what was in the way may be gone a moment later."""
    return _PASSING.search("\n".join(error_lines(criu_log))) is not None


def explain(criu_log: str, runc_output: str) -> str:
    """One sentence on the cause, then the lines of CRIU's log that say so."""
    errors = error_lines(criu_log) or error_lines(runc_output) or _last_lines(runc_output)
    return f"{_cause(errors)}. CRIU: {' | '.join(errors) or 'nothing was written'}"


def error_lines(log: str) -> list[str]:
    """The first lines of a CRIU log that report errors, without time stamps: the first is the cause of the rest."""
    found = []
    for line in log.splitlines():
        if "Error (" not in line or "RLIMIT_NOFILE" in line:
            continue
        text = re.sub(r"^.*?Error \(", "Error (", line.strip())[:LINE_LENGTH]
        if text not in found:
            found.append(text)
    return found[:LINES]


def _cause(errors: Sequence[str]) -> str:
    text = "\n".join(errors)
    for pattern, sentence in _CAUSES:
        if re.search(pattern, text):
            return sentence
    return "CRIU could not dump it, for a reason that SwarmKeep does not know"


def _last_lines(output: str) -> list[str]:
    """What runc said when CRIU said nothing."""
    lines = [line.strip()[:LINE_LENGTH] for line in output.splitlines() if line.strip()]
    return lines[-LINES:]
