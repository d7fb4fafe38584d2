"""Decisions: pure functions from what is wanted and seen to what is to be done. `now` is an argument."""
