"""`swarmkeep explain`: what a field means, from the schemas that the API serves."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.options import ContextName, Kubeconfig, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.cli.resources import Resource

WIDTH = 80


def explain(
    path: Annotated[str, typer.Argument(metavar="KIND[.FIELD...]", help="For example cpol.spec.restore")],
    recursive: Annotated[bool, typer.Option("--recursive", help="All fields below, without descriptions.")] = False,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Describes a kind or one of its fields.

    Example: swarmkeep explain cpol.spec.schedule.every
    """

    async def work(session: Session) -> int:
        kind, fields = _split(session, path)
        document = await _schemas(session, kind)
        print(page(document, kind, fields, recursive=recursive), end="")
        return 0

    run(Options(None, context, kubeconfig, request_timeout), work)


def page(document: Mapping[str, Any], resource: Resource, fields: list[str], *, recursive: bool) -> str:
    """The whole answer, from an OpenAPI v3 document. Raises InvalidObject for a field that there is not."""
    schemas = (document.get("components") or {}).get("schemas") or {}
    schema = _schema_of(schemas, resource)
    for position, name in enumerate(fields):
        children = _children(schemas, schema)
        if name not in children:
            raise _unknown(resource, fields[: position + 1], children)
        schema = _whole(schemas, children[name])
    kind = resource.kind
    lines = [f"GROUP:      {kind.group}"] if kind.group else []
    lines += [f"KIND:       {kind.name}", f"VERSION:    {kind.version}", ""]
    if fields:
        lines += [f"FIELD: {fields[-1]} <{_type(schemas, schema)}>"]
        lines += [*_enumeration(schema, ""), ""]
    lines += ["DESCRIPTION:", *_paragraph(str(schema.get("description") or "<empty>"), "    ")]
    lines += _limits(schema)
    children = _children(schemas, schema)
    if children:
        lines += ["", "FIELDS:"]
        lines += _tree(schemas, schema, "  ") if recursive else _list(schemas, schema)
    return "\n".join(lines).rstrip() + "\n\n"


def _split(session: Session, path: str) -> tuple[Resource, list[str]]:
    """The kind and the fields below it: `workloads.swarmkeep.dev` has dots of its own."""
    from swarmkeep.errors import InvalidObject

    words = [word for word in path.removesuffix("[]").replace("[]", "").split(".") if word]
    if not words:
        raise InvalidObject("you must say what: KIND, or KIND.FIELD")
    for length in range(len(words), 1, -1):
        name = ".".join(words[:length]).lower()
        for resource in session.catalogue.resources:
            if resource.kind.group and resource.called(name):
                return resource, words[length:]
    return session.catalogue.named(words[0]), words[1:]


async def _schemas(session: Session, resource: Resource) -> Mapping[str, Any]:
    kind = resource.kind
    path = f"/openapi/v3/apis/{kind.group}/{kind.version}" if kind.group else f"/openapi/v3/api/{kind.version}"
    answer = await session.client.transport.request("GET", path, repeatable=True)
    return answer.body if isinstance(answer.body, dict) else {}


def _schema_of(schemas: Mapping[str, Any], resource: Resource) -> Mapping[str, Any]:
    from swarmkeep.errors import InvalidObject

    wanted = {"group": resource.kind.group, "version": resource.kind.version, "kind": resource.kind.name}
    for schema in schemas.values():
        if wanted in (schema.get("x-kubernetes-group-version-kind") or ()):
            return _whole(schemas, schema)
    raise InvalidObject(f"the server has no description of {resource.full_name}")


def _whole(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with what it refers to filled in; its own description goes before that of what it refers to."""
    references = [schema, *(schema.get("allOf") or ())]
    for reference in references:
        name = str(reference.get("$ref") or "").rpartition("/")[2]
        if name in schemas:
            own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
            return {**schemas[name], **own}
    return schema


def _children(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields of an object, of a list's items or of a map's values."""
    schema = _whole(schemas, schema)
    if schema.get("properties"):
        properties: Mapping[str, Any] = schema["properties"]
        return properties
    inner = schema.get("items") or schema.get("additionalProperties")
    return _children(schemas, inner) if isinstance(inner, dict) else {}


def _required(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    schema = _whole(schemas, schema)
    inner = schema.get("items") or schema.get("additionalProperties")
    if not schema.get("properties") and isinstance(inner, dict):
        return _required(schemas, inner)
    return set(schema.get("required") or ())


def _type(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    schema = _whole(schemas, schema)
    if isinstance(schema.get("items"), dict):
        return "[]" + _type(schemas, schema["items"])
    if isinstance(schema.get("additionalProperties"), dict) and not schema.get("properties"):
        return "map[string]" + _type(schemas, schema["additionalProperties"])
    if schema.get("type") == "object" or "properties" in schema:
        return _named(schema)
    return str(schema.get("type") or "Object")


def _named(schema: Mapping[str, Any]) -> str:
    return "ObjectMeta" if "creationTimestamp" in (schema.get("properties") or {}) else "Object"


def _list(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    required = _required(schemas, schema)
    for name, child in sorted(_children(schemas, schema).items()):
        child = _whole(schemas, child)
        mark = " -required-" if name in required else ""
        yield f"  {name}\t<{_type(schemas, child)}>{mark}"
        yield from _enumeration(child, "  ")
        yield from _paragraph(str(child.get("description") or "<no description>"), "    ")
        yield ""


def _tree(schemas: Mapping[str, Any], schema: Mapping[str, Any], indent: str) -> Iterator[str]:
    if len(indent) > 40:
        return  # a schema that contains itself
    required = _required(schemas, schema)
    for name, child in sorted(_children(schemas, schema).items()):
        child = _whole(schemas, child)
        yield f"{indent}{name}\t<{_type(schemas, child)}>" + (" -required-" if name in required else "")
        yield from _enumeration(child, indent)
        yield from _tree(schemas, child, indent + "  ")


def _enumeration(schema: Mapping[str, Any], indent: str) -> list[str]:
    inner = schema.get("items") if isinstance(schema.get("items"), dict) else schema
    values = inner.get("enum") if isinstance(inner, dict) else None
    return [f"{indent}enum: {', '.join(str(value) for value in values)}"] if values else []


def _limits(schema: Mapping[str, Any]) -> list[str]:
    """What else a value has to obey, which kubectl does not show."""
    import json

    words = {
        "default": "by default",
        "minimum": "at least",
        "maximum": "at most",
        "minItems": "entries at least",
        "maxItems": "entries at most",
        "pattern": "matches",
        "format": "written as",
    }
    shown = [
        f"    {text} {json.dumps(schema[key])}" for key, text in words.items() if schema.get(key) not in (None, {})
    ]
    return ["", "VALUE:", *shown] if shown else []


def _paragraph(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent) or [indent]


def _unknown(resource: Resource, fields: list[str], children: Mapping[str, Any]) -> Exception:
    from swarmkeep.errors import InvalidObject

    near = difflib.get_close_matches(fields[-1], children, n=1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    return InvalidObject(f'field "{fields[-1]}" does not exist in {".".join([resource.kind.name, *fields[:-1]])}{hint}')
