"""The checkpoint store, a library of its own: it knows bytes, files, manifests and blobs, nothing of Docker."""
