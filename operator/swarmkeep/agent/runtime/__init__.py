"""The only room that knows docker, runc and CRIU on this node."""
