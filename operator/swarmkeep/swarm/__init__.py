"""The Swarm manager as Docker shows it: nodes, services, tasks. Knows nothing of our objects."""
