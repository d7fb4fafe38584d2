import time

import pytest

from .conftest import Kubectl, policy

pytestmark = pytest.mark.etcd

READY = '{"status":{"conditions":[{"type":"Ready","status":"True"}],"workloads":2}}'


def set_ready(kubectl: Kubectl) -> None:
    kubectl("patch", "cpol", "redis", "--subresource=status", "--type=merge", "-p", READY)


def test_wait_for_a_condition_that_is_met(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    set_ready(kubectl)
    assert "condition met" in kubectl("wait", "--for=condition=Ready", "cpol/redis", "--timeout=5s").out


@pytest.mark.parametrize("condition", ["condition=Ready", "jsonpath={.status.workloads}=2"])
def test_wait_for_something_that_comes(kubectl: Kubectl, condition: str) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    waiting = kubectl.started("wait", f"--for={condition}", "cpol/redis", "--timeout=20s")
    time.sleep(0.7)
    assert waiting.poll() is None
    set_ready(kubectl)
    out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert "condition met" in out


def test_wait_gives_up_in_time(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    answer = kubectl.tries("wait", "--for=condition=Ready", "cpol/redis", "--timeout=1s")
    assert answer.code == 1
    assert "timed out waiting for the condition" in answer.err
