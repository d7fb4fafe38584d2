"""The lab: a real multi-node Docker Swarm on one machine, each node in namespaces of its own. Standard library only.

`hack/lab` is its command; tests, demo and benchmarks import it.
"""

from swarmlab.lab import Lab
from swarmlab.process import LabError

__all__ = ["Lab", "LabError"]
