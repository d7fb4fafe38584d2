"""What holds for all tests."""

import asyncio

from hypothesis import HealthCheck, settings

# Until Python 3.13 pytest-asyncio would make an event loop before the first asynchronous test, and never close it.
asyncio.set_event_loop(None)

# A busy machine must not fail a property: what counts is the answer, not the milliseconds.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
