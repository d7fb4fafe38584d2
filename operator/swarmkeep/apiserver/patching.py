"""Applies the patch formats that clients send to the JSON of an object.

Called by the PATCH verb. Pure: results are new, inputs stay as they are. Server-side apply is apply.py.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer

from swarmkeep.errors import InvalidObject, UserError

MAX_OPERATIONS = 10_000
"""As Kubernetes: more operations in one JSON patch are refused."""
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""As Kubernetes: the sum of what `copy` may copy in one patch; it could otherwise double an object again and again."""

_DIRECTIVES = ("$patch", "$retainKeys")
_DIRECTIVE_PREFIXES = ("$setElementOrder/", "$deleteFromPrimitiveList/")


def merge_patch(base: Any, patch: Any) -> Any:
    """`base` with the JSON merge patch applied (RFC 7386): null removes, objects merge, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(base) if isinstance(base, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(base: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`base` with the JSON patch applied (RFC 6902).

    Raises UserError if the patch is malformed, InvalidObject if it does not fit the object: a failed `test`, a path
    that is not there. Clients such as kopf tell the two apart.
    """
    if not isinstance(operations, list):
        raise UserError("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise UserError(f"the JSON patch has {len(operations)} operations, at most {MAX_OPERATIONS} are allowed")
    result: Any = copy.deepcopy(dict(base))
    copied = 0
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict):
            raise UserError(f"operation {index} of the JSON patch is no object")
        copied += _copied_bytes(result, operation)
        if copied > MAX_COPIED_BYTES:
            raise UserError(f"the JSON patch copies more than {MAX_COPIED_BYTES} bytes")
        result = _apply_operation(result, operation, index)
    if not isinstance(result, dict):
        raise InvalidObject("the JSON patch leaves something that is no object")
    return result


def strategic_subset(patch: Any) -> Any:
    """A strategic merge patch as a merge patch, for kinds whose lists are small and always sent whole.

    The directives are dropped: enough for what kubectl sends for the built-in kinds that are served here.
    """
    if isinstance(patch, list):
        return [strategic_subset(item) for item in patch]
    if not isinstance(patch, Mapping):
        return patch
    return {
        name: strategic_subset(value)
        for name, value in patch.items()
        if name not in _DIRECTIVES and not name.startswith(_DIRECTIVE_PREFIXES)
    }


def _apply_operation(document: Any, operation: dict[str, Any], index: int) -> Any:
    """One operation, done in place; the library's errors become ours."""
    what = f"operation {index} ({operation.get('op')} {operation.get('path', '')!r})"
    try:
        if operation.get("op") == "test" and "value" in operation:
            _test(document, operation, what)
            return document
        document = jsonpatch.apply_patch(document, [operation], in_place=True)
    except jsonpatch.InvalidJsonPatch as error:
        raise UserError(f"{what} of the JSON patch is malformed: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise InvalidObject(f"{what} of the JSON patch does not fit the object: {error}") from None
    except (TypeError, AttributeError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{what} of the JSON patch is malformed: {error!r}") from None
    return document


def _copied_bytes(document: Any, operation: Mapping[str, Any]) -> int:
    if operation.get("op") != "copy":
        return 0
    try:
        return len(json.dumps(jsonpointer.resolve_pointer(document, operation["from"])))
    except (jsonpointer.JsonPointerException, KeyError, TypeError, AttributeError):
        return 0  # the operation itself will fail, with its own words


def _test(document: Any, operation: Mapping[str, Any], what: str) -> None:
    """The library would take true for 1 and answer a missing path as if the value differed only by chance."""
    found = jsonpointer.resolve_pointer(document, operation["path"])
    if not _equal(found, operation["value"]):
        raise InvalidObject(f"{what} of the JSON patch failed: the value is {json.dumps(found)[:200]}")


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
