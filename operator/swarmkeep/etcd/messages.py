"""Between our records and etcd's protobuf messages. Used by client.py and watching.py."""

from __future__ import annotations

from typing import Any

import grpc.aio
from etcd3 import etcdrpc

from swarmkeep.etcd.records import (
    Compare,
    Delete,
    EventType,
    Get,
    KeyValue,
    Operation,
    Put,
    WatchEvent,
    prefix_end,
)

END_OF_STREAM: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs do not know it


def key_value(message: Any) -> KeyValue:
    """etcd's KeyValue as ours."""
    return KeyValue(message.key.decode(), message.value, message.create_revision, message.mod_revision, message.lease)


def compare_message(compare: Compare) -> Any:
    """A condition as etcd wants it."""
    message = etcdrpc.Compare()
    message.key = compare.key.encode()
    message.result = etcdrpc.Compare.EQUAL
    if compare.target == "mod":
        message.target = etcdrpc.Compare.MOD
        message.mod_revision = compare.revision
    else:
        message.target = etcdrpc.Compare.CREATE
        message.create_revision = compare.revision
    return message


def operation_message(operation: Operation) -> Any:
    """An operation as etcd wants it."""
    match operation:
        case Put(key, value, lease):
            put = etcdrpc.PutRequest(key=key.encode(), value=value, lease=lease)
            return etcdrpc.RequestOp(request_put=put)
        case Delete(key):
            return etcdrpc.RequestOp(request_delete_range=etcdrpc.DeleteRangeRequest(key=key.encode()))
        case Get(key):
            return etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=key.encode()))


def answer(message: Any) -> KeyValue | None:
    """What a Get found."""
    if message.WhichOneof("response") != "response_range" or not message.response_range.kvs:
        return None
    return key_value(message.response_range.kvs[0])


def watch_request(prefix: str, start_revision: int) -> Any:
    """Asks for all changes below `prefix`, with previous values."""
    return etcdrpc.WatchRequest(
        create_request=etcdrpc.WatchCreateRequest(
            key=prefix.encode(), range_end=prefix_end(prefix), start_revision=start_revision, prev_kv=True
        )
    )


def watch_event(message: Any) -> WatchEvent:
    """etcd's Event as ours."""
    previous = key_value(message.prev_kv) if message.HasField("prev_kv") else None
    kind = EventType.DELETE if message.type == 1 else EventType.PUT
    return WatchEvent(kind, key_value(message.kv), previous)
