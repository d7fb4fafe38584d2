"""A container made anew out of another one's inspection: all that a user gave, nothing that Docker made up."""

from typing import Any

import pytest

from swarmkeep.agent.runtime.creation import read_creation
from swarmkeep.errors import CorruptData

ID = "0123456789ab" + "c" * 52


def inspection(mode: str = "shop_default", **config: Any) -> dict[str, Any]:
    return {
        "Id": ID,
        "Name": "/web",
        "Image": "sha256:1",
        "Config": {"Image": "redis:7", "Hostname": ID[:12], "Cmd": ["redis-server"], "Env": ["A=b"], **config},
        "HostConfig": {
            "NetworkMode": mode,
            "RestartPolicy": {"Name": "always"},
            "PortBindings": {"6379/tcp": [{"HostPort": "80"}]},
            "ContainerIDFile": "/tmp/id",
            "Runtime": "runc",
        },
        "NetworkSettings": {
            "Networks": {
                "shop_default": {
                    "NetworkID": "net1",
                    "Aliases": ["web", ID[:12]],
                    "IPAMConfig": {"IPv4Address": "10.1.0.7"},
                    "IPAddress": "10.1.0.7",
                    "MacAddress": "02:42:0a:01:00:07",
                },
                "back": {
                    "NetworkID": "net2",
                    "Aliases": ["cache"],
                    "IPAMConfig": {"IPv4Address": "10.2.0.7", "IPv6Address": "fd00::7"},
                    "Links": ["db:database"],
                    "DriverOpts": {"a": "b"},
                },
            }
        },
    }


def test_what_the_user_gave_is_given_again() -> None:
    made = read_creation(inspection())
    assert (made.name, made.image, made.image_id) == ("web", "redis:7", "sha256:1")
    assert made.body["Cmd"] == ["redis-server"]
    assert made.body["Env"] == ["A=b"]
    assert made.body["HostConfig"] == {
        "NetworkMode": "shop_default",
        "RestartPolicy": {"Name": "always"},
        "PortBindings": {"6379/tcp": [{"HostPort": "80"}]},
    }


def test_each_network_gets_its_aliases_and_fixed_addresses() -> None:
    made = read_creation(inspection())
    assert made.body["NetworkingConfig"] == {
        "EndpointsConfig": {"shop_default": {"Aliases": ["web"], "IPAMConfig": {"IPv4Address": "10.1.0.7"}}}
    }
    assert made.further_networks == {
        "back": {
            "ipv4_address": "10.2.0.7",
            "ipv6_address": "fd00::7",
            "aliases": ["cache"],
            "links": [("db", "database")],
            "driver_opt": {"a": "b"},
        }
    }


def test_a_network_that_was_named_by_its_id_is_found_by_its_name() -> None:
    made = read_creation(inspection("net1"))
    assert made.body["HostConfig"]["NetworkMode"] == "shop_default"
    assert list(made.body["NetworkingConfig"]["EndpointsConfig"]) == ["shop_default"]


@pytest.mark.parametrize("mode", ["default", "bridge", "host", "none", "container:other"])
def test_a_built_in_network_has_no_endpoint_of_its_own(mode: str) -> None:
    raw = inspection(mode)
    raw["NetworkSettings"]["Networks"] = {"bridge": {"NetworkID": "b", "IPAddress": "172.17.0.2"}}
    made = read_creation(raw)
    assert made.body["HostConfig"]["NetworkMode"] == mode
    assert "NetworkingConfig" not in made.body
    assert not made.further_networks


def test_a_host_name_and_an_address_of_the_card_stay_only_when_the_user_gave_them() -> None:
    assert "Hostname" not in read_creation(inspection()).body
    made = read_creation(inspection(Hostname="web1", MacAddress="02:00:00:00:00:01"))
    assert made.body["Hostname"] == "web1"
    assert made.body["NetworkingConfig"]["EndpointsConfig"]["shop_default"]["MacAddress"] == "02:00:00:00:00:01"


def test_a_clone_has_another_name() -> None:
    assert read_creation(inspection(), "web2").name == "web2"


@pytest.mark.parametrize("raw", [{}, {"Name": "/web", "Id": ID, "Image": "x", "Config": None, "HostConfig": {}}])
def test_what_is_no_inspection_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(CorruptData, match="not understood"):
        read_creation(raw)
