"""A container's writable layer, or a volume: captured at the frozen instant, applied before a restore."""

from swarmkeep.agent.runtime.layer_apply import apply
from swarmkeep.agent.runtime.layer_capture import FolderUnsupported, LayerUnsupported, capture, capture_folder

__all__ = ["FolderUnsupported", "LayerUnsupported", "apply", "capture", "capture_folder"]
