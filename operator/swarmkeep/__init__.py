"""SwarmKeep keeps the state of containers alive in a Docker Swarm."""

__version__ = "0.1.0"
