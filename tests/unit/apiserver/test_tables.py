from datetime import UTC, datetime
from typing import Any

from swarmkeep.apiserver.resources import Registry, Resource
from swarmkeep.apiserver.tables import table

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)

WIDGET: dict[str, Any] = {
    "apiVersion": "example.dev/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "labels": {"a": "b"}},
    "spec": {"size": 3},
    "status": {
        "seenAt": "2026-11-01T11:55:00Z",
        "conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}],
    },
}


def test_columns_come_from_the_definition(widgets: Resource) -> None:
    result = table(widgets, [WIDGET], resource_version="7", continue_token="c", remaining=3, now=NOW)
    assert result["metadata"] == {"resourceVersion": "7", "continue": "c", "remainingItemCount": 3}
    assert [(c["name"], c["type"], c["priority"]) for c in result["columnDefinitions"]] == [
        ("Name", "string", 0),
        ("Size", "integer", 0),
        ("Ready", "string", 1),
        ("Seen", "date", 0),
    ]
    assert result["rows"][0]["cells"] == ["w", 3, "True", "5m"]


def test_missing_and_ill_typed_values_are_empty_cells(widgets: Resource) -> None:
    bare = {"metadata": {"name": "w"}, "spec": {"size": "big"}, "status": {"conditions": None}}
    assert table(widgets, [bare], now=NOW)["rows"][0]["cells"] == ["w", None, None, None]


def test_rows_carry_what_was_asked_for(widgets: Resource) -> None:
    metadata = table(widgets, [WIDGET], now=NOW)["rows"][0]["object"]
    assert metadata == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": WIDGET["metadata"],
    }
    assert table(widgets, [WIDGET], include="Object", now=NOW)["rows"][0]["object"] == WIDGET
    assert "object" not in table(widgets, [WIDGET], include="None", now=NOW)["rows"][0]


def test_later_tables_of_a_watch_have_no_definitions(widgets: Resource) -> None:
    assert table(widgets, [WIDGET], columns=False, now=NOW)["columnDefinitions"] == []


def test_every_column_has_a_cell_for_every_kind(registry: Registry) -> None:
    for resource in registry.all():
        result = table(resource, [{"metadata": {"name": "x"}}], now=NOW)
        assert len(result["rows"][0]["cells"]) == len(result["columnDefinitions"])


def test_events_have_their_own_columns(events: Resource) -> None:
    event = {
        "metadata": {"name": "e1"},
        "involvedObject": {"kind": "Workload", "name": "redis.1"},
        "reason": "Restored",
        "message": "version 4 restored\n",
        "type": "Normal",
        "count": 2,
        "firstTimestamp": "2026-11-01T11:00:00Z",
        "lastTimestamp": "2026-11-01T11:59:00Z",
        "source": {"component": "agent", "host": "n1"},
    }
    result = table(events, [event], now=NOW)
    names = [column["name"] for column in result["columnDefinitions"]]
    cells = dict(zip(names, result["rows"][0]["cells"], strict=True))
    assert cells == {
        "Last Seen": "60s",
        "Type": "Normal",
        "Reason": "Restored",
        "Object": "workload/redis.1",
        "Subobject": "",
        "Source": "agent, n1",
        "Message": "version 4 restored",
        "First Seen": "60m",
        "Count": "2",
        "Name": "e1",
    }


def test_an_event_with_microtime_only_is_shown_as_well(events: Resource) -> None:
    event = {"metadata": {"name": "e"}, "eventTime": "2026-11-01T11:59:30.123456Z", "reportingComponent": "agent"}
    cells = table(events, [event], now=NOW)["rows"][0]["cells"]
    assert (cells[0], cells[5], cells[7]) == ("29s", "agent", "29s")
