"""A client of our API (or of a real kube-apiserver), shared by agent, controllers and command."""
