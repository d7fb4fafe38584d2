"""The front script looks at selectors in a hurry, Python looks closely: the hurried look may never say no alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import swarmkeep.shim
from swarmkeep.shim.labels import matching, read_container, read_selectors

FRONT = Path(swarmkeep.shim.__file__).with_name("swarmkeep-runtime")

WORDS = st.sampled_from(
    ["a", "b", "ab", "redis", "a b", "x=y", "ü", '"', "\\", "<&>", "*", "[a]", "?", "Hold", "-", ""]
)
KEYS = st.sampled_from(["keep", "com.docker.swarm.service.name", "com.docker.stack.namespace", "k v", "ü"])
SELECTORS = st.one_of(
    st.tuples(st.sampled_from(["service", "stack", "container", "planet"]), WORDS).map(" ".join),
    st.tuples(KEYS, WORDS).map(lambda pair: f"label {pair[0]}={pair[1]}"),
    st.just("# nothing"),
)


def go_json(value: object) -> str:
    """JSON as Docker writes it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.dictionaries(KEYS, WORDS, max_size=3),
    name=WORDS,
    selectors=st.lists(SELECTORS, min_size=1, max_size=3),
    ending=st.sampled_from(["\n", ""]),
)
def test_never_overlooks_what_a_closer_look_finds(
    tmp_path: Path, labels: dict[str, str], name: str, selectors: list[str], ending: str
) -> None:
    record = tmp_path / "containers/abc/config.v2.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(go_json({"Config": {"Labels": labels}, "Name": f"/{name}"}) + "\n")
    path = tmp_path / "selectors"
    path.write_text("\n".join(f"{selector}\tHold\t60" for selector in selectors) + ending)
    container = read_container(str(tmp_path), "abc")
    assert container is not None
    if matching(container, read_selectors(str(path))):
        assert _asks_python(tmp_path)


def _asks_python(folder: Path) -> bool:
    script = folder / "swarmkeep-runtime"
    if not script.exists():
        conf = folder / "shim.conf"
        for name in ("runc", "python"):
            (folder / name).write_text(f"#!/bin/sh\necho {name}\n")
            (folder / name).chmod(0o755)
        conf.write_text(
            f"runc={folder}/runc\npython={folder}/python\nmodule={FRONT}\n"
            f"docker_root={folder}\nstate_dir={folder}\nrun_dir={folder}\n"
        )
        script.write_text(FRONT.read_text().replace("/etc/swarmkeep/shim.conf", str(conf)))
        script.chmod(0o755)
    done = subprocess.run(
        [str(script), "--root", "/r/moby", "create", "--bundle", "/b", "abc"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        timeout=20,
        check=True,
    )
    return done.stdout.strip() == "python"
