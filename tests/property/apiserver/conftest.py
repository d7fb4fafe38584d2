"""A busy machine must not fail a property: what counts is the answer, not the milliseconds."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
