"""The one table of API kinds: kind <-> group, version, plural, scope.

Schemas, short names and printer columns are in crds/; a test holds this table against them.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "swarmkeep.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """One API kind as clients address it."""

    group: str
    """API group; empty for Kubernetes' core group."""
    version: str
    name: str
    """CamelCase singular, as in an object's `kind`."""
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What an object's `apiVersion` says."""
        return f"{self.group}/{self.version}" if self.group else self.version


POLICY = Kind(GROUP, VERSION, "CheckpointPolicy", "checkpointpolicies", namespaced=True)
WORKLOAD = Kind(GROUP, VERSION, "Workload", "workloads", namespaced=True)
CHECKPOINT = Kind(GROUP, VERSION, "Checkpoint", "checkpoints", namespaced=True)
RESTORE = Kind(GROUP, VERSION, "Restore", "restores", namespaced=True)
LOCATION = Kind(GROUP, VERSION, "StorageLocation", "storagelocations", namespaced=False)
NODE = Kind(GROUP, VERSION, "Node", "nodes", namespaced=False)
MIGRATION = Kind(GROUP, VERSION, "Migration", "migrations", namespaced=True)
EVENT = Kind("", "v1", "Event", "events", namespaced=True)
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)
CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)

OURS = (POLICY, WORKLOAD, CHECKPOINT, RESTORE, LOCATION, NODE, MIGRATION)

NODE_LEASE_NAMESPACE = "swarmkeep-nodes"
"""Where each agent keeps the Lease that is named after its node."""

LABEL_WORKLOAD = f"{GROUP}/workload"
LABEL_POLICY = f"{GROUP}/policy"
LABEL_SERVICE = f"{GROUP}/service"
LABEL_CONTAINER = f"{GROUP}/container"
LABEL_NODE = f"{GROUP}/node"
LABEL_MIGRATION = f"{GROUP}/migration"
"""On Checkpoints that a Migration has asked for: its uid."""
LABEL_IMPORTED = f"{GROUP}/imported"
"""On Checkpoints that were made out of manifests; its value is `true`."""
