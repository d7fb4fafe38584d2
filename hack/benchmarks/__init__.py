"""What `hack/bench` measures, and how it tells it."""
