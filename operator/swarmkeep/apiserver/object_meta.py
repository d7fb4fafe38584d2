"""Kubernetes' rules for names, labels, annotations and finalizers, the same for every kind.

Called by schema.py as part of every validation. Wording follows Kubernetes' own messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.validation import REQUIRED, TOO_LONG, FieldError, invalid

MAX_NAME_LENGTH = 253
MAX_LABEL_LENGTH = 63
MAX_ANNOTATIONS_BYTES = 256 * 1024

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", re.ASCII)
_LABEL = re.compile(_DNS_LABEL, re.ASCII)
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name')"
)
_QUALIFIED_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName')"
)
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue')"
)


def metadata_errors(resource: Resource, metadata: Any) -> Iterator[FieldError]:
    """What is wrong with the metadata beyond its types. A name must be there: generateName is resolved before."""
    if not isinstance(metadata, Mapping):
        yield FieldError("metadata", REQUIRED, "Required value")
        return
    yield from _name_errors(resource, metadata.get("name"))
    for name, value in _strings(metadata.get("labels")):
        yield from _key_errors("metadata.labels", name)
        if problem := label_value_problem(value):
            yield invalid("metadata.labels", value, problem)
    size = 0
    for name, value in _strings(metadata.get("annotations")):
        yield from _key_errors("metadata.annotations", name.lower())
        size += len(name.encode("utf-8", "surrogatepass")) + len(value.encode("utf-8", "surrogatepass"))
    if size > MAX_ANNOTATIONS_BYTES:
        message = f"Too long: may not be more than {MAX_ANNOTATIONS_BYTES} bytes"
        yield FieldError("metadata.annotations", TOO_LONG, message)
    finalizers = metadata.get("finalizers")
    for index, finalizer in enumerate(finalizers if isinstance(finalizers, list) else ()):
        if isinstance(finalizer, str) and (problem := label_key_problem(finalizer)):
            yield invalid(f"metadata.finalizers[{index}]", finalizer, problem)


def label_key_problem(key: str) -> str | None:
    """Why `key` cannot name a label, an annotation or a finalizer; None if it can. Form: `[subdomain/]name`."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (prefix and len(prefix) <= MAX_NAME_LENGTH and _SUBDOMAIN.fullmatch(prefix)):
        return f"prefix part {_SUBDOMAIN_RULE}"
    if not name:
        return "name part must be non-empty"
    if len(name) > MAX_LABEL_LENGTH:
        return f"name part must be no more than {MAX_LABEL_LENGTH} bytes"
    return None if _QUALIFIED_NAME.fullmatch(name) else _QUALIFIED_NAME_RULE


def label_value_problem(value: str) -> str | None:
    """Why `value` cannot be a label's value; None if it can."""
    if len(value) > MAX_LABEL_LENGTH:
        return f"must be no more than {MAX_LABEL_LENGTH} bytes"
    return None if not value or _QUALIFIED_NAME.fullmatch(value) else _LABEL_VALUE_RULE


def _strings(mapping: Any) -> Iterator[tuple[str, str]]:
    """Name and value of each well-typed entry; the schema names the others."""
    if isinstance(mapping, Mapping):
        yield from ((name, value) for name, value in mapping.items() if isinstance(value, str))


def _name_errors(resource: Resource, name: Any) -> Iterator[FieldError]:
    if name is None or name == "":
        yield FieldError("metadata.name", REQUIRED, "Required value: name or generateName is required")
    elif isinstance(name, str):
        is_label = resource.kind == "Namespace"
        longest = MAX_LABEL_LENGTH if is_label else MAX_NAME_LENGTH
        if len(name) > longest:
            yield invalid("metadata.name", name, f"must be no more than {longest} bytes")
        elif not (_LABEL if is_label else _SUBDOMAIN).fullmatch(name):
            yield invalid("metadata.name", name, _LABEL_RULE if is_label else _SUBDOMAIN_RULE)


def _key_errors(path: str, key: str) -> Iterator[FieldError]:
    if problem := label_key_problem(key):
        yield invalid(path, key, problem)
