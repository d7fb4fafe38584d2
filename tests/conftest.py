"""What holds for all tests."""

import asyncio

# Until Python 3.13 pytest-asyncio would make an event loop before the first asynchronous test, and never close it.
asyncio.set_event_loop(None)
