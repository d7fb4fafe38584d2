"""Settings say what is wrong with them before a daemon starts."""

from datetime import timedelta
from pathlib import Path

import pytest

from swarmkeep.config import Address, load_config, read_config
from swarmkeep.errors import InvalidObject


def test_an_empty_document_gives_the_defaults() -> None:
    assert read_config({}, "test").agent.lease_duration == timedelta(seconds=15)


def test_durations_addresses_paths_and_lists_are_read() -> None:
    config = read_config(
        {
            "node": "n1",
            "api": {"servers": ["https://a:1", "https://b:2"]},
            "apiserver": {"listen": "[::1]:6443", "clientCA": "/pki/ca.crt"},
            "etcd": {"ca": None, "certificate": None, "key": None},
            "operator": {"electionTTL": "3s"},
            "agent": {"leaseDuration": "4s", "metricsListen": "127.0.0.1:9"},
        },
        "test",
    )
    assert config.node == "n1"
    assert config.api.servers == ("https://a:1", "https://b:2")
    assert config.apiserver.listen == Address("::1", 6443)
    assert config.apiserver.client_ca == Path("/pki/ca.crt")
    assert config.etcd.ca is None
    assert config.operator.election_ttl == timedelta(seconds=3)
    assert config.agent.metrics_listen == Address("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"agent": {"leaseDuratio": "4s"}}, "unknown setting agent.leaseDuratio, did you mean leaseDuration"),
        ({"agent": {"leaseDuration": 4}}, "agent.leaseDuration must be a text, not int"),
        ({"agent": {"cacheBytes": "lots"}}, "agent.cacheBytes: 'lots' is no size"),
        ({"agent": {"leaseDuration": "4"}}, "agent.leaseDuration: '4' is no duration"),
        ({"agent": {"leaseDuration": "1s"}}, "agent.leaseDuration must be at least 2s"),
        ({"operator": {"electionTTL": "1s"}}, "operator.electionTTL must be at least 2s"),
        ({"apiserver": {"listen": "6443"}}, "apiserver.listen: '6443' is no address"),
        ({"apiserver": {"listen": "h:70000"}}, "no address"),
        ({"api": {"servers": "https://a"}}, "api.servers must be a list of texts"),
        ({"api": {"servers": []}}, "api.servers is empty"),
        ({"etcd": {"ca": None}}, "etcd.ca, etcd.certificate and etcd.key go together"),
        ({"agent": ["x"]}, "agent must be a mapping, not list"),
        (["x"], "the document must be a mapping"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(document: object, message: str) -> None:
    with pytest.raises(InvalidObject, match=message.replace("(", r"\(")) as caught:
        read_config(document, "here.yaml")
    assert str(caught.value).startswith("here.yaml: ")


def test_a_file_that_cannot_be_read_or_parsed_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidObject, match=r"cannot read the settings in .*absent\.yaml"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(InvalidObject, match=r"broken\.yaml is not YAML"):
        load_config(broken)


def test_fencing_comes_before_the_lease_runs_out() -> None:
    agent = read_config({"agent": {"leaseDuration": "4s"}}, "test").agent
    assert agent.renew_interval * 2 < agent.fence_after < agent.lease_duration


def test_sizes_are_written_as_quantities() -> None:
    assert read_config({"agent": {"cacheBytes": "512Mi"}}, "test").agent.cache_bytes == 512 << 20
    assert read_config({"agent": {"cacheBytes": 0}}, "test").agent.cache_bytes == 0
