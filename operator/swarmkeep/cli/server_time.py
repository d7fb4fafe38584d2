"""The server's clock: ages must not depend on the clock of whoever types a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from swarmkeep.kube.client import Client


async def server_time(client: Client) -> datetime:
    """What time it is there, to the second. Raises Unavailable."""
    from email.utils import parsedate_to_datetime

    from swarmkeep.errors import Unavailable

    answer = await client.transport.request("GET", "/version", repeatable=True)
    try:
        return parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        raise Unavailable("the server does not say what time it is, so no age is known") from None
