"""Brings a container up from its image: lazy pages, `runc restore`, and everything taken back when it fails."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from typing import Any

from swarmkeep.shim.arguments import Call
from swarmkeep.shim.early_addresses import lend, take_back
from swarmkeep.shim.settings import SEARCH_PATH, Settings, find_program
from swarmkeep.shim.sysctl import SYSCTL_LIMIT_S, network_parameters, start_setting

RESTORE_LIMIT_S = 280.0
"""The longest that `runc restore` may take; the agent waits 300 s for the outcome."""
LAZY_LIMIT_S = 10.0
"""The longest until the server of lazy pages listens."""
LAZY_PID = "lazy-pages.pid"
"""In the work folder while pages are still being read from the image; holds the process group of the server."""
LAZY_FAILED = "lazy-pages.failed"
"""In the work folder when the server of pages died before its work was done."""
MNT_DETACH = 2
"""Takes a mount out of sight with all below it. Source: umount(2)."""
CONFIG_ANNOTATION = "org.criu.config"

# A process whose missing pages nobody serves any more would read zeros in their place: it has to end.
# File descriptor 3 is where CRIU says that it is ready.
_SERVE_PAGES = """
criu=$1 image=$2 work=$3 runc=$4 root=$5 id=$6
echo $$ >"$work/lazy-pages.pid"
"$criu" lazy-pages --images-dir "$image" --work-dir "$work" --log-file lazy-pages.log --status-fd 3 &
exec 3>&-
wait $!
code=$?
if [ $code -ne 0 ]; then
  echo $code >"$work/lazy-pages.failed"
  "$runc" ${root:+--root "$root"} kill "$id" KILL
fi
rm -f "$work/lazy-pages.pid"
"""


class RestoreFailed(Exception):
    """The container does not run; nothing of the attempt is left."""


def restore(call: Call, settings: Settings, order: dict[str, Any]) -> float:
    """Carries out the agent's `{"do": "restore", ...}`; returns the seconds it took.

    Raises RestoreFailed, or FileNotFoundError when this node lacks a program: that says nothing about the version.
    """
    for name in ("runc", "criu"):
        settings.program(name)
    find_program("nsenter")
    image, work = str(order["image"]), str(order["work"])
    begun = time.monotonic()
    os.makedirs(work, mode=0o700, exist_ok=True)
    folder = settings.container_dir(call.container_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _write(os.path.join(folder, "work"), work)
    criu_conf = os.path.join(folder, "criu.conf")
    options = _own_criu_options(settings)
    _write(criu_conf, options + _tcp_option(str(order.get("tcp", "close"))))
    lazy = bool(order.get("lazy"))
    try:
        if lazy:
            _serve_pages(call, settings, image, work)
        config_path = os.path.join(call.bundle, "config.json")
        with open(config_path, "rb") as file:
            original = file.read()
        addresses = list(map(str, order.get("addresses") or ()))
        _replace(config_path, _annotated(original, criu_conf, addresses))
        try:
            _run_restore(call, settings, image, work, lazy)
            if addresses:
                take_back(call.options.get("pid-file", ""), addresses)
            _set_network_parameters(call, original, work)
        finally:
            _replace(config_path, original)
            # Versions that are later taken of this container read the same file: for them nothing special holds.
            _write(criu_conf, options)
    except (OSError, ValueError, RestoreFailed) as error:
        undo(call, settings)
        raise RestoreFailed(str(error)) from error
    return time.monotonic() - begun


def prepare_fresh(call: Call, settings: Settings) -> None:
    """Names a CRIU options file for a container that starts from nothing, so that its versions freeze it for less long.

    Raises OSError or ValueError, with the bundle as it was.
    """
    folder = settings.container_dir(call.container_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    criu_conf = os.path.join(folder, "criu.conf")
    _write(criu_conf, _own_criu_options(settings))
    config_path = os.path.join(call.bundle, "config.json")
    with open(config_path, "rb") as file:
        original = file.read()
    _replace(config_path, _annotated(original, criu_conf, []))


def undo(call: Call, settings: Settings) -> None:
    """Takes back all of a failed restore: another attempt or a fresh start finds nothing of it. Never raises."""
    end_page_server(settings, call.container_id)
    forget_work(settings, call.container_id, keep_as="last-failure")
    try:
        environment = _environment(settings)
        runc = settings.program("runc")
        words = [runc, *_global_options(call, log=os.devnull), "delete", "--force", call.container_id]
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        _wait(os.posix_spawn(runc, words, environment, file_actions=quiet), 30.0)
    except (OSError, RestoreFailed):
        # runc create refuses with a clear message if something is in its way.
        return


def end_page_server(settings: Settings, container_id: str) -> None:
    """Ends the server of lazy pages of a container that is gone; nothing happens when there is none."""
    try:
        work = _read(os.path.join(settings.container_dir(container_id), "work"))
        group = int(_read(os.path.join(work, LAZY_PID)))
        with open(f"/proc/{group}/cmdline", "rb") as file:
            # The number may belong to somebody else by now.
            if work.encode() in file.read().split(b"\0"):
                os.killpg(group, signal.SIGKILL)
        os.unlink(os.path.join(work, LAZY_PID))
    except (OSError, ValueError):
        return


def detach_mounts(work: str) -> None:
    """Takes out what a CRIU that was killed has left mounted in its work folder: all cgroups, among other things.

    Whoever removed that folder would go into them. Raises OSError.
    """
    mounted = [entry.path for entry in os.scandir(work) if os.path.ismount(entry.path)]
    if mounted:
        # Only then: loading it takes longer than all else here.
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        for path in mounted:
            if libc.umount2(os.fsencode(path), MNT_DETACH) != 0:
                raise OSError(ctypes.get_errno(), "cannot be unmounted", path)


def forget_work(settings: Settings, container_id: str, keep_as: str = "") -> None:
    """Removes the logs of a container's restore, or keeps them under one name for all; never raises.

    They stay where they are when the server of pages died too early: the agent has yet to see that.
    """
    try:
        work = os.path.realpath(_read(os.path.join(settings.container_dir(container_id), "work")))
        inside = work.startswith(os.path.realpath(settings.run_dir) + os.sep)
        if not inside or os.path.exists(os.path.join(work, LAZY_FAILED)):
            return
        detach_mounts(work)
        if keep_as:
            kept = os.path.join(os.path.dirname(work), keep_as)
            shutil.rmtree(kept, ignore_errors=True)
            os.rename(work, kept)
        else:
            shutil.rmtree(work, ignore_errors=True)
    except OSError:
        return


def _serve_pages(call: Call, settings: Settings, image: str, work: str) -> None:
    """Starts the server of lazy pages and waits until it listens. It outlives the shim and belongs to nobody."""
    for name in (LAZY_FAILED, "lazy-pages.socket"):
        if os.path.lexists(os.path.join(work, name)):
            os.unlink(os.path.join(work, name))
    reader, writer = os.pipe()
    words = ["sh", "-c", _SERVE_PAGES, "swarmkeep-pages"]
    words += [settings.program("criu"), image, work, settings.program("runc"), call.root, call.container_id]
    output = os.path.join(work, "lazy-pages.out")
    actions: list[Any] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    if writer == 3:
        os.set_inheritable(writer, True)
    else:
        actions.append((os.POSIX_SPAWN_DUP2, writer, 3))
    os.posix_spawn("/bin/sh", words, _environment(settings), file_actions=actions, setsid=True)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], LAZY_LIMIT_S)
        if not ready or not os.read(reader, 1):
            raise RestoreFailed(f"the server of lazy pages did not start: {_last_errors(work, 'lazy-pages.log')}")
    finally:
        os.close(reader)


def _run_restore(call: Call, settings: Settings, image: str, work: str, lazy: bool) -> None:
    log = os.path.join(work, "runc.log")
    runc = settings.program("runc")
    words = [runc, *_global_options(call, log), "restore", "--detach"]
    words += ["--image-path", image, "--work-path", work, "--bundle", call.bundle, "--file-locks"]
    for option in ("pid-file", "console-socket"):
        if option in call.options:
            words += [f"--{option}", call.options[option]]
    if "no-pivot" in call.options:
        words.append("--no-pivot")
    if lazy:
        words.append("--lazy-pages")
    words.append(call.container_id)
    # Standard input and output are the container's own and go to its process through runc.
    status = _wait(os.posix_spawn(runc, words, _environment(settings)), RESTORE_LIMIT_S)
    if status != 0:
        raise RestoreFailed(_why(work))


def _set_network_parameters(call: Call, config: bytes, work: str) -> None:
    """What `runc create` would have done before the process started. Raises RestoreFailed."""
    parameters = network_parameters(json.loads(config))
    if not parameters or "pid-file" not in call.options:
        return
    output = os.path.join(work, "sysctl.out")
    pid = int(_read(call.options["pid-file"]))
    if _wait(start_setting(pid, parameters, output), SYSCTL_LIMIT_S) != 0:
        raise RestoreFailed(f"its kernel parameters cannot be set: {_read(output).strip()[-500:]}")


def _global_options(call: Call, log: str) -> list[str]:
    words = ["--log", log, "--log-format", "json"]
    for name, value in call.options.items():
        if name in ("root", "rootless"):
            words += [f"--{name}", value]
        elif name in ("systemd-cgroup", "debug"):
            words.append(f"--{name}={value}")
    return words


def _wait(pid: int, limit_s: float) -> int:
    """Exit code of a child. Raises RestoreFailed when it had to be ended."""
    handle = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([handle], [], [], limit_s)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not ready:
            raise RestoreFailed(f"runc took longer than {limit_s:g} s")
        return os.waitstatus_to_exitcode(status)
    finally:
        os.close(handle)


def _annotated(config: bytes, criu_conf: str, addresses: list[str]) -> bytes:
    """The bundle's configuration with CRIU's options file named in it: runc hands that on to CRIU."""
    value = json.loads(config)
    if addresses:
        lend(value, addresses)
    value["annotations"] = {**(value.get("annotations") or {}), CONFIG_ANNOTATION: criu_conf}
    for mount in value.get("mounts") or ():
        # runc follows a link, as Debian's docker-init is one; CRIU would mount the link itself.
        if mount.get("type") == "bind" and os.path.islink(mount.get("source", "")):
            mount["source"] = os.path.realpath(mount["source"])
    return json.dumps(value, separators=(",", ":")).encode()


def _own_criu_options(settings: Settings) -> str:
    """What the node's administrator set for CRIU under runc: a file that is named replaces that one."""
    try:
        return _read(settings.criu_conf).rstrip("\n") + "\n"
    except FileNotFoundError:
        return ""


def _tcp_option(tcp: str) -> str:
    return "tcp-established\n" if tcp == "established" else "tcp-close\n"


def _environment(settings: Settings) -> dict[str, str]:
    """runc and CRIU look for programs in PATH, and the PATH that a runtime gets may be anything."""
    own = os.environ.get("PATH", "")
    folders = [os.path.dirname(settings.program("criu")), *([own] if own else []), SEARCH_PATH]
    return {**os.environ, "PATH": ":".join(folders)}


def _why(work: str) -> str:
    return f"runc: {_runc_error(os.path.join(work, 'runc.log'))}; CRIU: {_last_errors(work, 'restore.log')}"


def _runc_error(path: str) -> str:
    """The last error that runc wrote into its log."""
    try:
        lines = _read(path).splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("level") in ("error", "fatal"):
            return str(record.get("msg"))
    return "no reason given"


def _last_errors(work: str, name: str) -> str:
    """The last lines of a CRIU log that say Error, newest last."""
    try:
        lines = [line.strip() for line in _read(os.path.join(work, name)).splitlines() if "Error" in line]
    except OSError:
        lines = []
    return " | ".join(lines[-4:])[:2000] or f"nothing in {os.path.join(work, name)}"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _replace(path: str, data: bytes) -> None:
    """Never leaves a half-written file, whatever happens in between."""
    temporary = f"{path}.swarmkeep"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
