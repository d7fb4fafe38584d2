"""The spec hash changes with what a process image depends on, and with nothing else."""

from dataclasses import replace

import pytest

from swarmkeep.plan.specification import Specification, mount_text, spec_hash

BASE = Specification(
    image_id="sha256:1",
    entrypoint=("redis-server",),
    command=("--save", ""),
    environment=("A=1", "B=2"),
    working_dir="/",
    user="",
    mounts=(mount_text("volume", "data", "/data", False), mount_text("tmpfs", "", "/tmp", False)),
    cap_add=("SYS_TIME", "NET_ADMIN"),
    cap_drop=(),
    tty=False,
    force_update=0,
)


def test_the_order_of_sets_does_not_count() -> None:
    shuffled = replace(BASE, environment=("B=2", "A=1"), mounts=BASE.mounts[::-1], cap_add=("NET_ADMIN", "SYS_TIME"))
    assert spec_hash(shuffled) == spec_hash(BASE)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, image_id="sha256:2"),
        replace(BASE, command=("", "--save")),
        replace(BASE, environment=("A=1", "B=3")),
        replace(BASE, user="redis"),
        replace(BASE, mounts=(mount_text("volume", "data", "/data", True),)),
        replace(BASE, cap_drop=("KILL",)),
        replace(BASE, force_update=1),
        replace(BASE, tty=True),
        replace(BASE, settled=("init",)),
    ],
)
def test_each_part_counts(other: Specification) -> None:
    assert spec_hash(other) != spec_hash(BASE)


def test_a_container_without_settled_things_has_the_hash_that_it_always_had() -> None:
    assert spec_hash(BASE) == "1d9f471f0b90b565"


def test_the_order_of_settled_things_does_not_count() -> None:
    one, other = replace(BASE, settled=("init", "read-only")), replace(BASE, settled=("read-only", "init"))
    assert spec_hash(one) == spec_hash(other)
