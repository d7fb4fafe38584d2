"""Metrics and logging: it is told, it never asks."""
