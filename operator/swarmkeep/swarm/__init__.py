"""The Swarm as its managers tell it: nodes, services, tasks. Knows nothing of our objects."""
