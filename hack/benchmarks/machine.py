"""What a measurement was made on: enough to compare, nothing that tells whose machine it is."""

from __future__ import annotations

import os
from pathlib import Path


def describe_machine() -> dict[str, str | int]:
    """Kernel, cores, memory in GB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = int(line.split()[1]) * 1024
            break
    else:
        memory = 0
    kernel = ".".join(os.uname().release.split(".")[:2])
    return {"kernel": kernel, "cores": os.cpu_count() or 1, "memoryGB": round(memory / 1e9)}
