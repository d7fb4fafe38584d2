"""Nouns: what things are. Frozen dataclasses, standard library only, no I/O."""
