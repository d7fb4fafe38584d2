"""`swarmkeep apiserver|operator|agent|manager`: starts the daemons from their settings file.

Not in swarmkeep.cli, whose verbs know the API only: this is where the doors of the house are opened. Loaded by name, by
swarmkeep.cli.app.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Option("--config", help="The settings file.")]

DEFAULT_CONFIG = Path("/etc/swarmkeep/config.yaml")


def apiserver(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Serves the API over etcd.

    Example: swarmkeep apiserver --config /etc/swarmkeep/config.yaml
    """
    from swarmkeep.config import load_config

    settings = load_config(config)
    from swarmkeep.apiserver.daemon import run

    raise typer.Exit(run(settings))


def operator(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Turns policies into workloads and keeps their status true. One of several leads.

    Example: swarmkeep operator --config /etc/swarmkeep/config.yaml
    """
    from swarmkeep.config import load_config

    settings = load_config(config)
    from swarmkeep.controllers.daemon import run

    raise typer.Exit(run(settings))


def agent(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Takes versions of this node's containers and restores them.

    Example: swarmkeep agent --config /etc/swarmkeep/config.yaml
    """
    from swarmkeep.config import load_config

    settings = load_config(config)
    from swarmkeep.agent.daemon import run

    raise typer.Exit(run(settings))


def manager(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Runs apiserver and operator, and starts them again when they end. For the managers of the Swarm.

    Example: swarmkeep manager --config /etc/swarmkeep/config.yaml
    """
    from swarmkeep.config import load_config
    from swarmkeep.manager import run

    load_config(config)  # a settings file that is wrong is said once, here, and not by two children for ever
    raise typer.Exit(run(config))
