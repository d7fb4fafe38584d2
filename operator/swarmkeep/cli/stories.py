"""The text of `describe`: an object's fields in the order in which a person asks for them. Pure.

Kinds of SwarmKeep have a summary of their own before the fields; every other kind gets its fields only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.cli.jsonpath import as_text
from swarmkeep.errors import InvalidObject
from swarmkeep.model.quantity import format_bytes, format_duration
from swarmkeep.model.wire import parse_time

Object = Mapping[str, Any]
Facts = list[tuple[str, str]]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The whole file once more, in one line: kubectl does not show it either."""

_CAPITALS = {"id": "ID", "tcp": "TCP", "cpus": "CPUs", "criu": "CRIU", "uid": "UID", "uri": "URI"}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_HIDDEN = frozenset(
    {"managedFields", "name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation"}
)


def tell(obj: Object, now: datetime) -> str:
    """Everything but the events: who it is, how it is in short, what is wanted, what was found, conditions."""
    metadata = obj["metadata"]
    status = dict(obj.get("status") or {})
    conditions = status.pop("conditions", None) or []
    head: Facts = [("Name", metadata["name"])]
    if metadata.get("namespace"):
        head.append(("Namespace", metadata["namespace"]))
    head.append(("Labels", _pairs(metadata.get("labels"))))
    annotations = {key: text for key, text in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    head.append(("Annotations", _pairs(annotations)))
    head.append(("Kind", f"{obj['kind']} ({obj['apiVersion']})"))
    head.append(("Created", since(metadata.get("creationTimestamp"), now)))
    if metadata.get("deletionTimestamp"):
        held = ", ".join(metadata.get("finalizers") or ()) or "nothing"
        head.append(("Terminating", f"{since(metadata['deletionTimestamp'], now)}, held by {held}"))
    if obj["kind"] in _SUMMARIES and obj["apiVersion"].startswith("swarmkeep.dev/"):
        summarise, told = _SUMMARIES[obj["kind"]]
        head += summarise(obj, now)
        status = {key: value for key, value in status.items() if key not in told}
    text = _facts(head)
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    for key, value in rest.items():
        text += _section(_title(key), value, now)
    if status:
        text += _section("Status", status, now)
    return text + _conditions(conditions, now)


def versions(checkpoints: Iterable[Object], now: datetime, *, limit: int) -> str:
    """The newest versions of a workload as a table, newest last."""
    numbered = sorted(checkpoints, key=lambda obj: (obj.get("status") or {}).get("version") or 0)
    if not numbered:
        return "Versions:  <none>\n"
    rows = []
    for obj in numbered[-limit:]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        rows.append(
            (
                str(status.get("version") or "?"),
                str(status.get("phase") or "Pending") + _damage(status),
                str(spec.get("reason") or "") + (", pinned" if spec.get("pinned") else ""),
                str(status.get("node") or ""),
                age(status.get("takenAt"), now),
                _seconds(status.get("frozenSeconds")),
                _bytes((status.get("bytes") or {}).get("stored")),
                str(status.get("message") or ""),
            )
        )
    older = len(numbered) - len(rows)
    title = "Versions:" + (f"  ({older} older ones are not shown)" if older else "")
    return f"{title}\n" + _table(("Version", "Phase", "Reason", "Node", "Taken", "Frozen", "Bytes", "Message"), rows)


def events(items: Iterable[Object], now: datetime) -> str:
    """What happened, oldest first."""
    told = sorted(items, key=lambda item: str(_last(item) or ""))
    if not told:
        return "Events:  <none>\n"
    rows = []
    for item in told:
        count = int(item.get("count") or 1)
        when = age(_last(item), now)
        if count > 1:
            when += f" (x{count} over {age(item.get('firstTimestamp'), now)})"
        teller = (item.get("source") or {}).get("component") or item.get("reportingComponent") or ""
        host = (item.get("source") or {}).get("host") or ""
        who = f"{teller}, {host}" if host else str(teller)
        rows.append((str(item.get("type")), str(item.get("reason")), when, who, str(item.get("message") or "").strip()))
    return "Events:\n" + _table(("Type", "Reason", "Age", "From", "Message"), rows)


def since(moment: Any, now: datetime) -> str:
    """A time and how long ago it was."""
    return f"{moment} ({age(moment, now)} ago)" if moment else "<unknown>"


def _policy(obj: Object, now: datetime) -> Facts:
    status = obj.get("status") or {}
    facts: Facts = [("Selects", str(status.get("selects") or "<not looked yet>"))]
    if status.get("services"):
        facts.append(("Services", ", ".join(status["services"])))
    if "workloads" in status:
        count = status["workloads"]
        facts.append(
            ("Workloads", f"{count}, {status.get('protected', 0)} protected, {status.get('restorable', 0)} restorable")
        )
    if status.get("oldestVersionAt"):
        facts.append(("Recovery point", f"a lost node would cost at most {age(status['oldestVersionAt'], now)}"))
    return facts


def _workload(obj: Object, now: datetime) -> Facts:
    status = obj.get("status") or {}
    claim, newest = status.get("claim") or {}, status.get("newestVersion") or {}
    facts: Facts = [("Policy", str((obj.get("spec") or {}).get("policy") or "<none>"))]
    facts.append(("Phase", str(status.get("phase") or "Pending")))
    facts.append(("Node", f"{claim['node']} (epoch {claim.get('epoch', 0)})" if claim.get("node") else "<none>"))
    if newest:
        frozen = f", frozen for {_seconds(newest['frozenSeconds'])}" if "frozenSeconds" in newest else ""
        facts.append(("Newest version", f"{newest.get('number')}, taken {age(newest.get('takenAt'), now)} ago{frozen}"))
    else:
        facts.append(("Newest version", "<none>: a lost node would lose its state"))
    for replica in status.get("replicas") or ():
        has = f"version {replica['version']}" if replica.get("version") else "no version yet"
        if replica.get("takenAt"):
            has += f", taken {age(replica['takenAt'], now)} ago"
        facts.append((f"In {replica['location']}", has + (f": {replica['message']}" if replica.get("message") else "")))
    for field, title in (("lastStart", "Last start"), ("lastEnd", "Last end")):
        happened = status.get(field)
        if happened:
            facts.append((title, _happening(happened, now)))
    failure = status.get("lastFailure")
    if failure:
        times = f" ({failure['consecutive']} in a row)" if failure.get("consecutive", 1) > 1 else ""
        facts.append(("Last failure", f"{failure.get('reason')}{times}: {failure.get('message')}"))
    return facts


def _happening(happened: Object, now: datetime) -> str:
    words = [str(happened.get("how"))]
    if happened.get("version"):
        words.append(f"from version {happened['version']}")
    if happened.get("seconds") is not None:
        words.append(f"in {_seconds(happened['seconds'])}")
    if happened.get("node"):
        words.append(f"on {happened['node']}")
    if happened.get("exitCode") is not None:
        words.append(f"with exit code {happened['exitCode']}")
    if happened.get("finalVersion"):
        words.append(f"leaving version {happened['finalVersion']}")
    words.append(f"{age(happened.get('at'), now)} ago")
    text = " ".join(words)
    if happened.get("reason"):
        text += f", {happened['reason']}"
    return f"{text}: {happened['message']}" if happened.get("message") else text


def _checkpoint(obj: Object, now: datetime) -> Facts:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    sizes = status.get("bytes") or {}
    facts: Facts = [("Workload", str(spec.get("workload")))]
    facts.append(("Phase", str(status.get("phase") or "Pending")))
    if status.get("takenAt"):
        facts.append(("Taken", since(status["takenAt"], now) + (f" on {status['node']}" if status.get("node") else "")))
    if status.get("frozenSeconds") is not None:
        facts.append(("Frozen", f"for {_seconds(status['frozenSeconds'])}"))
    for item in status.get("locations") or ():
        told = str(item["state"])
        if item.get("storedAt"):
            told += f" {age(item['storedAt'], now)} ago"
        if item.get("bytes") is not None:
            told += f", {_bytes(item['bytes'])}"
        facts.append((f"In {item['name']}", told + (f": {item['message']}" if item.get("message") else "")))
    if sizes:
        facts.append(("Size", ", ".join(f"{_bytes(size)} {name}" for name, size in sizes.items())))
    facts += _verified(status, now)
    if status.get("message"):
        facts.append(("Message", str(status["message"])))
    return facts


def _verified(status: Object, now: datetime) -> Facts:
    """What is known of a version's bytes: result, files that are hit, what was in the way."""
    seen, order = status.get("verified") or {}, status.get("verification") or {}
    if not seen and not order:
        return [("Verified", "not yet")] if status.get("phase") in ("Stored", "Replicated") else []
    facts: Facts = []
    if seen.get("result"):
        depth = "manifest and packs" if seen.get("how") == "Quick" else "every byte"
        where = f" on {seen['node']}" if seen.get("node") else ""
        text = f"{seen['result']}, {depth} {age(seen.get('at'), now)} ago{where}"
        problems = [
            f"{each.get('path') or 'the whole version'}: {each.get('problem')}" for each in seen.get("problems") or ()
        ]
        more = int(seen.get("damagedFiles") or 0) - len(problems)
        facts.append(("Verified", "\n".join([text, *problems, *([f"and {more} more files"] if more > 0 else [])])))
    for look in seen.get("locations") or ():
        if look.get("damagedAt"):
            mended = f"; written again out of {look['repairedFrom']}" if look.get("repairedFrom") else ""
            told = f"{look.get('result')}; damage was found {age(look.get('damagedAt'), now)} ago{mended}"
            rest = f": {look['notRepaired']}" if look.get("notRepaired") else ""
            facts.append((f"Verified in {look['name']}", told + rest))
    if seen.get("trouble"):
        facts.append(("Not verified", f"{age(seen.get('troubleAt'), now)} ago: {seen['trouble']}"))
    if order:
        facts.append(("Being verified", order.get("message") or f"on {order.get('node')}"))
    return facts


def _migration(obj: Object, now: datetime) -> Facts:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    source = status.get("from") or "<not looked yet>"
    facts: Facts = [("Moves", f"{spec.get('workload')}, from {source} to {(spec.get('to') or {}).get('node')}")]
    facts.append(("Phase", str(status.get("phase") or "<not looked at yet>")))
    if status.get("message"):
        facts.append(("Message", str(status["message"])))
    entered = [f"{item['phase']} {item['at']}" for item in status.get("phases") or ()]
    if entered:
        facts.append(("Phases", "\n".join(entered)))
    rounds = [
        f"{item['number']}: version {item['version']}, {_bytes(item.get('bytes'))}, "
        + (f"there {age(item['readyAt'], now)} ago" if item.get("readyAt") else "on its way")
        for item in status.get("rounds") or ()
        if item.get("version")
    ]
    if rounds:
        facts.append(("Rounds", "\n".join(rounds)))
    if status.get("downtimeSeconds") is not None:
        facts.append(("Downtime", f"{_seconds(status['downtimeSeconds'])} by the clocks of the agents"))
    if status.get("bytes") is not None:
        facts.append(("Written", f"{_bytes(status['bytes'])} for it in storage"))
    placement = status.get("placement") or {}
    if placement:
        rules = ", ".join(placement.get("constraints") or ())
        back = placement.get("returnedAt")
        facts.append(("Told the Swarm", f"{rules}; " + (f"taken back {age(back, now)} ago" if back else "for now")))
    return facts


def _damage(status: Object) -> str:
    """How the versions' table says that bytes are not what they must be."""
    result = (status.get("verified") or {}).get("result")
    words = {"Damaged": ", damaged", "DamagedCopy": ", one copy damaged", "Unrestorable": ", cannot be restored"}
    return words.get(str(result), "")


def _node(obj: Object, _: datetime) -> Facts:
    status = obj.get("status") or {}
    facts: Facts = []
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    if ready:
        word = {"True": "yes", "False": "no"}.get(str(ready.get("status")), "unknown")
        facts.append(("Ready", f"{word}, {ready.get('reason')}: {ready.get('message')}"))
    if status.get("addresses"):
        facts.append(("Addresses", ", ".join(status["addresses"])))
    if "workloads" in status:
        facts.append(("Workloads", str(status["workloads"])))
    for field, title in (("cpuFeatures", "CPU features"), ("images", "Images")):
        if status.get(field):
            # Hundreds of lines that nobody reads; -o yaml has them.
            facts.append((title, f"{len(status[field])} known"))
    return facts


_SUMMARIES: Mapping[str, tuple[Callable[[Object, datetime], Facts], frozenset[str]]] = {
    # kind: how it is told in short, and which fields of the status that covers
    "CheckpointPolicy": (
        _policy,
        frozenset({"selects", "services", "workloads", "protected", "restorable", "oldestVersionAt"}),
    ),
    "Workload": (
        _workload,
        frozenset({"phase", "claim", "newestVersion", "replicas", "lastStart", "lastEnd", "lastFailure"}),
    ),
    "Checkpoint": (
        _checkpoint,
        frozenset(
            {
                "phase",
                "takenAt",
                "node",
                "frozenSeconds",
                "bytes",
                "location",
                "locations",
                "message",
                "verified",
                "verification",
            }
        ),
    ),
    "Migration": (
        _migration,
        frozenset(
            {
                "phase",
                "message",
                "failure",
                "workload",
                "from",
                "to",
                "epoch",
                "phases",
                "rounds",
                "downtimeSeconds",
                "bytes",
                "placement",
            }
        ),
    ),
    "Node": (_node, frozenset({"addresses", "workloads", "cpuFeatures", "images"})),
}


def _facts(facts: Facts) -> str:
    width = max(len(name) for name, _ in facts) + 3
    lines = []
    for name, value in facts:
        first, *more = value.split("\n")
        lines.append(f"{name + ':':<{width}}{first}")
        lines += [" " * width + line for line in more]
    return "".join(f"{line}\n" for line in lines)


def _section(title: str, value: Any, now: datetime) -> str:
    if not isinstance(value, dict | list):
        return _facts([(title, as_text(value))])
    return f"{title}:\n" + "".join(f"{line}\n" for line in _lines(value, "  ", now))


def _lines(value: Any, indent: str, now: datetime, unit: str = "") -> list[str]:
    """Fields of an object or entries of a list, one below the other; `unit` is the name of the field above."""
    lines: list[str] = []
    if isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict | list):
                inner = _lines(entry, indent + "  ", now)
                lines += [f"{indent}- {inner[0].lstrip()}", *inner[1:]] if inner else []
            else:
                lines.append(f"{indent}- {as_text(entry)}")
        return lines
    plain = {key: entry for key, entry in value.items() if not isinstance(entry, dict | list)}
    width = max((len(_title(key)) for key in plain), default=0) + 3
    for key, entry in value.items():
        if key not in plain:
            lines.append(f"{indent}{_title(key)}:" + ("" if entry else "  <none>"))
            lines += _lines(entry, indent + "  ", now, unit=key)
        else:
            lines.append(f"{indent}{_title(key) + ':':<{width}}{_scalar(key, entry, now, unit)}")
    return lines


def _scalar(key: str, value: Any, now: datetime, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith(("At", "Time", "Timestamp")) and isinstance(value, str):
        return since(value, now)
    if key.lower().endswith("seconds") and isinstance(value, int | float):
        return _seconds(value)
    if (key.lower().endswith("bytes") or unit == "bytes") and isinstance(value, int):
        return _bytes(value)
    return as_text(value)


def _conditions(conditions: Sequence[Object], now: datetime) -> str:
    if not conditions:
        return ""
    rows = [
        (
            str(item.get("type")),
            str(item.get("status")),
            age(item.get("lastTransitionTime"), now),
            str(item.get("reason") or ""),
            str(item.get("message") or ""),
        )
        for item in conditions
    ]
    return "Conditions:\n" + _table(("Type", "Status", "Since", "Reason", "Message"), rows)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under underlined headers, indented by two; the last one may be as long as it likes."""
    lines = [headers, ["-" * len(header) for header in headers], *[[_flat(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) + 2 for column in range(len(headers))]
    return "".join(
        "  " + "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def _flat(text: str) -> str:
    return " ".join(text.split()) or "-"


def _pairs(pairs: Mapping[str, str] | None) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted((pairs or {}).items())) or "<none>"


def _title(key: str) -> str:
    """`lastTransitionTime` as `Last transition time`; words in capitals stay so."""
    if not key.isidentifier():
        return key
    words = _WORD.findall(key) or [key]
    rest = [
        _CAPITALS.get(word.lower(), word if word.isupper() and len(word) > 1 else word.lower()) for word in words[1:]
    ]
    return " ".join([_CAPITALS.get(words[0].lower(), words[0][:1].upper() + words[0][1:]), *rest])


def _last(event: Object) -> Any:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")


def age(moment: Any, now: datetime) -> str:
    """How long ago, to the second below ten minutes."""
    try:
        passed = now - parse_time(moment)
    except InvalidObject:
        return "<unknown>"
    passed = max(passed, timedelta())
    unit = timedelta(seconds=1 if passed < timedelta(minutes=10) else 60 if passed < timedelta(days=1) else 3600)
    return format_duration(passed // unit * unit)


def _seconds(value: Any) -> str:
    return "-" if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _bytes(value: Any) -> str:
    return "-" if value is None else format_bytes(int(value))
