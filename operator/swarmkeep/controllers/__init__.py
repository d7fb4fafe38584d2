"""Front door 2: the operator. The only room that knows kopf."""
