"""Certificates: a CA of the installation's own, one certificate for each role, kubeconfigs. Used by the command."""
