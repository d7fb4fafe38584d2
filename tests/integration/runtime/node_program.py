"""Runs inside a node of the lab: takes versions and answers the shim with the runtime room alone, without an agent.

version CONTAINER FOLDER JSON   takes a version and prints what happened as JSON
end ID                          ends what is just coming up in that container
serve JSON                      answers every create with that order, every kill as it says
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.dump import Begun, Dumper, DumpRequest
from swarmkeep.agent.runtime.freezer import Freezer
from swarmkeep.agent.runtime.processes import kill_members
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.errors import SwarmKeepError

RUN = Path("/run/swarmkeep-test")


async def version(name: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Freezes, captures the layer, dumps and thaws."""
    containers, freezer = Containers("unix:///var/run/docker.sock"), Freezer(RUN)
    dumper = Dumper(Path("/usr/sbin/runc"), Path("/run/docker/runtime-runc/moby"), freezer, Restores(RUN / "restore"))
    facts = await containers.inspect(name)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "image").mkdir(parents=True)
    (folder / "work").mkdir()
    request = DumpRequest(
        container_id=facts.id,
        pid=facts.pid,
        image_dir=folder / "image",
        work_dir=folder / "work",
        leave_running=not options.get("final"),
        tcp=options.get("tcp", "Close"),
        max_freeze_s=options.get("limit", 30),
    )
    error = ""
    began = time.monotonic()
    begun: Begun | None = None

    async def beforehand() -> None:
        nonlocal begun
        begun = await dumper.begin(request) if request.leave_running else None

    await freezer.freeze(facts.id, facts.pid, keep=False, beforehand=beforehand)
    print("frozen", flush=True)
    try:
        layer.capture(facts.upper_dir, folder / "layer")
        await dumper.dump(request, begun)
    except SwarmKeepError as problem:
        error = str(problem)
    finally:
        await freezer.thaw(facts.id, facts.pid)
    frozen_s = time.monotonic() - began
    await containers.close()
    return {"error": error, "frozen_s": frozen_s}


async def serve(order: dict[str, Any]) -> None:
    """Answers like an agent that has made up its mind."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(message: dict[str, Any]) -> None:
            writer.write(json.dumps(message).encode() + b"\n")

        question = json.loads(await reader.readline())
        if question["op"] == "kill":
            say({"do": order.get("kill", "deliver")})
        elif "folder" not in order:
            say({"do": "fresh"})
        else:
            folder = order["folder"]
            config = json.loads((Path(question["bundle"]) / "config.json").read_bytes())
            layer.apply(Path(folder) / "layer", Path(config["root"]["path"]))
            work = str(RUN / "restore" / question["id"])
            lazy = order.get("lazy", True)
            say({"do": "restore", "image": f"{folder}/image", "work": work, "lazy": lazy, "tcp": "close"})
            outcome = json.loads(await reader.readline())
            (RUN / "outcome.json").write_text(json.dumps(outcome))
            say({"done": True} if outcome["outcome"] == "restored" else {"do": "refuse", "message": outcome["error"]})
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(converse, str(prepare_socket()))
    print("ready", flush=True)
    await server.serve_forever()


def prepare_socket() -> Path:
    """The path at which the shim asks, free to be used."""
    RUN.mkdir(parents=True, exist_ok=True)
    path = RUN / "shim.sock"
    path.unlink(missing_ok=True)
    return path


if __name__ == "__main__":
    if sys.argv[1] == "version":
        print(json.dumps(asyncio.run(version(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])))))
    elif sys.argv[1] == "end":
        print(kill_members(sys.argv[2]))
    else:
        asyncio.run(serve(json.loads(sys.argv[2])))
