"""Front door 1: a Kubernetes-compatible REST and watch API over etcd."""
