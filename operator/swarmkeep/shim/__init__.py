"""Front door 4: the OCI runtime in front of runc. Standard library only."""
