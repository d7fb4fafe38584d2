"""An operator process whose Swarm is simulated: `python candidate.py CONFIG`. Started by test_leadership.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from swarmkeep.config import load_config
from swarmkeep.controllers.daemon import Operator
from swarmkeep.controllers.wiring import quieten
from swarmkeep.obs.logs import configure_logging
from swarmkeep.swarm.simulated import SimulatedSwarm


def main() -> None:
    """Runs one candidacy; the exit code is the operator's."""
    configure_logging("operator")
    quieten()
    swarm = SimulatedSwarm("n1")
    swarm.create("redis")
    operator = Operator(load_config(Path(sys.argv[1])), swarm)
    signal.signal(signal.SIGTERM, lambda *_: operator.stop())
    os._exit(operator.run())


if __name__ == "__main__":
    main()
