"""A container's writable layer: captured at the frozen instant, applied before a restore."""

from swarmkeep.agent.runtime.layer_apply import apply
from swarmkeep.agent.runtime.layer_capture import LayerUnsupported, capture

__all__ = ["LayerUnsupported", "apply", "capture"]
