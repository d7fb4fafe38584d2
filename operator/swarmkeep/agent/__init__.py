"""Front door 3: the agent of one node. Takes versions, answers the shim, restores, reports."""
