"""Schemas of the few Kubernetes kinds that are served beside our own, and of the metadata that every object has.

Plain data for resources.py. Descriptions are what `kubectl explain` prints. Shapes follow Kubernetes' API reference
(meta/v1 ObjectMeta, core/v1 Namespace and Event, coordination.k8s.io/v1 Lease), reduced to what a Swarm needs.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

API_VERSION_DESCRIPTION = "The versioned schema of this object, as group/version."
KIND_DESCRIPTION = "The kind of thing that this object stands for."


def _string(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str, **more: Any) -> Schema:
    return {"type": "integer", "description": description, **more}


def _time(description: str) -> Schema:
    return _string(description, format="date-time")


def _object(description: str, properties: Schema, **more: Any) -> Schema:
    return {"type": "object", "description": description, "properties": properties, **more}


def _list(description: str, items: Schema, **more: Any) -> Schema:
    return {"type": "array", "description": description, "items": items, **more}


def _strings_by_name(description: str) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": {"type": "string"}}


def _whole(description: str, **parts: Schema) -> Schema:
    """The schema of a complete object."""
    return _object(
        description,
        {
            "apiVersion": _string(API_VERSION_DESCRIPTION),
            "kind": _string(KIND_DESCRIPTION),
            "metadata": METADATA,
            **parts,
        },
    )


OWNER_REFERENCE = _object(
    "An object that this one belongs to.",
    {
        "apiVersion": _string("API version of the owner."),
        "kind": _string("Kind of the owner."),
        "name": _string("Name of the owner."),
        "uid": _string("UID of the owner."),
        "controller": {"type": "boolean", "description": "True if the owner manages this object."},
        "blockOwnerDeletion": {"type": "boolean", "description": "True if the owner cannot go before this object."},
    },
    required=["apiVersion", "kind", "name", "uid"],
)

MANAGED_FIELDS = _object(
    "What one field manager owns.",
    {
        "manager": _string("Name of the field manager."),
        "operation": _string("How the fields came to be owned."),
        "apiVersion": _string("API version that the fields are named in."),
        "time": _time("When the entry last changed."),
        "fieldsType": _string("Format of fieldsV1."),
        "fieldsV1": {
            "type": "object",
            "description": "The fields, as a tree.",
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "subresource": _string("The subresource that was written."),
    },
)

METADATA = _object(
    "Standard object metadata.",
    {
        "name": _string("Unique within a namespace and a kind. Cannot be changed."),
        "generateName": _string("A prefix; the server adds a random suffix when name is empty."),
        "namespace": _string("The space within which the name is unique. Cannot be changed."),
        "labels": _strings_by_name("Names and values to select objects by."),
        "annotations": _strings_by_name("Names and values that tools keep with an object; not for selecting."),
        "finalizers": _list(
            "What has to be done before a deleted object goes. It goes when the list is empty.",
            {"type": "string"},
            **{"x-kubernetes-list-type": "set"},
        ),
        "ownerReferences": _list(
            "Objects that this one belongs to.",
            OWNER_REFERENCE,
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
        ),
        "uid": _string("Unique in time and space. Set by the server."),
        "resourceVersion": _string("Changes with every write. Opaque; set by the server."),
        "generation": _integer("Counts changes of the wanted state. Set by the server."),
        "creationTimestamp": _time("When the object was made. Set by the server."),
        "deletionTimestamp": _time("When deletion was asked for. Set by the server."),
        "deletionGracePeriodSeconds": _integer("Time that the object had to end by itself. Set by the server."),
        "selfLink": _string("No longer set."),
        "managedFields": _list("Who owns which fields. Kept by the server.", MANAGED_FIELDS),
    },
)

CONDITION = _object(
    "One thing that is true or not.",
    {
        "type": _string("What the condition speaks of."),
        "status": _string("Whether it holds: True, False or Unknown."),
        "reason": _string("One CamelCase word for programs."),
        "message": _string("A sentence for people."),
        "lastTransitionTime": _time("When the status last changed."),
    },
    required=["type", "status"],
)

NAMESPACE = _whole(
    "A space for names: two objects of one kind may have the same name in different namespaces.",
    spec=_object(
        "What is wanted.",
        {"finalizers": _list("What has to be done before the namespace goes.", {"type": "string"})},
    ),
    status=_object(
        "What is.",
        {
            "phase": _string("Active, or Terminating while its objects are deleted."),
            "conditions": _list(
                "What is true of the namespace now, and why.",
                CONDITION,
                **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
        },
    ),
)

OBJECT_REFERENCE_PROPERTIES = {
    "kind": _string("Kind of the object."),
    "namespace": _string("Namespace of the object."),
    "name": _string("Name of the object."),
    "uid": _string("UID of the object."),
    "apiVersion": _string("API version of the object."),
    "resourceVersion": _string("The version of the object that is spoken of."),
    "fieldPath": _string("The part of the object that is spoken of."),
}

EVENT = _whole(
    "Something that happened to an object. Events are kept for a limited time.",
    involvedObject=_object("The object that it happened to.", OBJECT_REFERENCE_PROPERTIES),
    related=_object("A second object that had to do with it.", OBJECT_REFERENCE_PROPERTIES),
    reason=_string("One CamelCase word for programs."),
    message=_string("A sentence for people."),
    type=_string("Normal or Warning."),
    source=_object(
        "Who saw it.",
        {"component": _string("The component that reports."), "host": _string("The node that it runs on.")},
    ),
    firstTimestamp=_time("When it happened first."),
    lastTimestamp=_time("When it happened last."),
    count=_integer("How often it happened."),
    eventTime=_time("When it was first observed."),
    series=_object(
        "How often it goes on happening.",
        {"count": _integer("How often so far."), "lastObservedTime": _time("When last.")},
    ),
    action=_string("What was done to the object."),
    reportingComponent=_string("The component that reports."),
    reportingInstance=_string("The instance of that component."),
)

LEASE = _whole(
    "Says who holds something, and until when.",
    spec=_object(
        "The holder and its time.",
        {
            "holderIdentity": _string("Who holds the lease."),
            "leaseDurationSeconds": _integer("How long after renewTime others have to wait.", minimum=1),
            "acquireTime": _time("When the holder got it."),
            "renewTime": _time("When the holder last renewed it."),
            "leaseTransitions": _integer("How often the holder changed."),
            "strategy": _string("How holders are chosen."),
            "preferredHolder": _string("Who should hold it next."),
        },
    ),
)

CUSTOM_RESOURCE_DEFINITION = _whole(
    "Defines a kind of object. Read-only here: the definitions come with SwarmKeep.",
    spec=_object(
        "The kind's names, scope and schema.",
        {
            "group": _string("API group of the kind."),
            "scope": _string("Namespaced or Cluster."),
            "names": {
                "type": "object",
                "description": "The kind's names.",
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "versions": {
                "type": "array",
                "description": "Versions with their schemas.",
                "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
            "conversion": {
                "type": "object",
                "description": "How versions are converted.",
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
    ),
    status={"type": "object", "description": "What is served.", "x-kubernetes-preserve-unknown-fields": True},
)
