"""What is served beside objects: version, health, discovery, OpenAPI."""

from __future__ import annotations

import platform
import sys

from swarmkeep import __version__
from swarmkeep.apiserver import discovery, openapi
from swarmkeep.apiserver.answers import Answer, json_answer
from swarmkeep.apiserver.discovery import AggregatedVersion
from swarmkeep.apiserver.resources import Registry
from swarmkeep.apiserver.status_errors import StatusError

KUBERNETES_VERSION = "1.36"
"""The API level that is spoken: some kubectls choose their own version by it."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def version() -> Answer:
    """`GET /version`."""
    major, minor = KUBERNETES_VERSION.split(".")
    machine = platform.machine()
    return json_answer(
        {
            "major": major,
            "minor": minor,
            "gitVersion": f"v{KUBERNETES_VERSION}.0+swarmkeep-{__version__}",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": f"python{platform.python_version()}",
            "compiler": platform.python_implementation(),
            "swarmkeepVersion": __version__,
            "platform": f"{sys.platform}/{_MACHINES.get(machine, machine)}",
        }
    )


class Documents:
    """Discovery and OpenAPI: they never change while the server runs, so each is made once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[tuple[str, ...], Answer] = {}

    def api(self, accept: str, *, core: bool) -> Answer:
        """`GET /api` (core) and `GET /apis`."""
        aggregated = _aggregated(accept)
        if aggregated is None:
            plain = discovery.core_versions(self._registry) if core else discovery.api_groups(self._registry)
            return json_answer(plain)
        key = ("aggregated", aggregated, str(core))
        if key not in self._made:
            body = discovery.aggregated(self._registry, core=core, version=aggregated)
            media = f"application/json;g=apidiscovery.k8s.io;v={aggregated};as=APIGroupDiscoveryList"
            self._made[key] = json_answer(body, headers={"Content-Type": media})
        return self._made[key]

    def group(self, group: str) -> Answer | None:
        """`GET /apis/<group>`."""
        found = discovery.api_group(self._registry, group)
        return json_answer(found) if found else None

    def resources(self, group: str, version_: str) -> Answer | None:
        """`GET /api/v1` and `GET /apis/<group>/<version>`."""
        found = discovery.api_resources(self._registry, group, version_)
        return json_answer(found) if found else None

    def openapi_index(self) -> Answer:
        """`GET /openapi/v3`."""
        key = ("index",)
        if key not in self._made:
            self._made[key] = json_answer(openapi.index(self._registry))
        return self._made[key]

    def openapi_document(self, group: str, version_: str) -> Answer | None:
        """`GET /openapi/v3/api/v1` and `GET /openapi/v3/apis/<group>/<version>`."""
        if not self._registry.in_group_version(group, version_):
            return None
        key = ("document", group, version_)
        if key not in self._made:
            self._made[key] = json_answer(openapi.document(self._registry, group, version_))
        return self._made[key]

    def openapi_v2(self) -> Answer:
        """`GET /openapi/v2`: kubectl goes on without it when it is not acceptable."""
        raise StatusError(406, "NotAcceptable", "OpenAPI v2 is not served here: use /openapi/v3")


def _aggregated(accept: str) -> AggregatedVersion | None:
    for option in accept.split(","):
        parameters = {part.strip() for part in option.split(";")[1:]}
        if "as=APIGroupDiscoveryList" in parameters:
            if "v=v2" in parameters:
                return "v2"
            if "v=v2beta1" in parameters:
                return "v2beta1"
        elif option.split(";")[0].strip() in ("application/json", "*/*"):
            return None
    return None
