"""Front door 5: the command, one file per verb."""
