"""Reading kubeconfigs: merging, paths, data, and what is said when something is wrong."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from swarmkeep.errors import InvalidObject
from swarmkeep.kube.kubeconfig import kubeconfig_paths, load_context


def write(path: Path, **parts: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}))
    return path


def cluster(name: str, server: str = "https://10.0.0.1:6443", **more: object) -> dict[str, object]:
    return {"name": name, "cluster": {"server": server, **more}}


def context(name: str, cluster: str, **more: object) -> dict[str, object]:
    return {"name": name, "context": {"cluster": cluster, **more}}


def test_the_current_context_with_its_namespace(tmp_path: Path) -> None:
    path = write(
        tmp_path / "config",
        **{"current-context": "a"},
        clusters=[cluster("c")],
        contexts=[context("a", "c", namespace="shop"), context("b", "c")],
    )
    found = load_context([path])
    assert (found.name, found.servers, found.namespace) == ("a", ("https://10.0.0.1:6443",), "shop")
    assert load_context([path], "b").namespace == "default"


def test_the_first_of_several_files_wins_for_each_entry(tmp_path: Path) -> None:
    first = write(tmp_path / "1", clusters=[cluster("c", "https://first")], contexts=[])
    second = write(
        tmp_path / "2",
        **{"current-context": "a"},
        clusters=[cluster("c", "https://second")],
        contexts=[context("a", "c")],
    )
    assert load_context([first, tmp_path / "absent", second]).servers == ("https://first",)


def test_relative_paths_count_from_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "unused")
    (tmp_path / "deep" / "ca.pem").write_text("PEM")
    path = write(
        tmp_path / "deep" / "config",
        **{"current-context": "a"},
        clusters=[cluster("c", **{"certificate-authority": "ca.pem"})],
        contexts=[context("a", "c")],
    )
    assert load_context([path]).credentials.ca == "PEM"


def test_embedded_certificates_are_decoded(tmp_path: Path) -> None:
    data = {f"client-{what}-data": base64.b64encode(what.encode()).decode() for what in ("certificate", "key")}
    path = write(
        tmp_path / "config",
        **{"current-context": "a"},
        clusters=[cluster("c")],
        contexts=[context("a", "c", user="u")],
        users=[{"name": "u", "user": {**data, "token": "t"}}],
    )
    credentials = load_context([path]).credentials
    assert (credentials.certificate, credentials.key, credentials.token) == ("certificate", "key", "t")


def test_further_servers_stand_in_an_extension(tmp_path: Path) -> None:
    extension = {"name": "servers.swarmkeep.dev", "extension": {"servers": ["https://a", "https://b"]}}
    path = write(
        tmp_path / "config",
        **{"current-context": "a"},
        clusters=[cluster("c", "https://a", extensions=[extension])],
        contexts=[context("a", "c")],
    )
    assert load_context([path]).servers == ("https://a", "https://b")


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({}, "no current-context"),
        ({"current-context": "a"}, "has no context 'a'; it has none"),
        ({"current-context": "a", "contexts": [context("b", "c")]}, "has no context 'a'; it has b"),
        ({"current-context": "a", "contexts": [context("a", "c")]}, "has no cluster 'c'"),
        (
            {"current-context": "a", "contexts": [context("a", "c", user="u")], "clusters": [cluster("c")]},
            "no user 'u'",
        ),
        ({"current-context": "a", "contexts": [context("a", "c")], "clusters": [cluster("c", "ftp://x")]}, "https://"),
        ({"contexts": [{"context": {}}]}, "an entry of contexts has no name"),
        (
            {
                "current-context": "a",
                "contexts": [context("a", "c", user="u")],
                "clusters": [cluster("c")],
                "users": [{"name": "u", "user": {"exec": {"command": "aws"}}}],
            },
            "users with exec are not supported",
        ),
        (
            {
                "current-context": "a",
                "contexts": [context("a", "c")],
                "clusters": [cluster("c", **{"certificate-authority-data": "%%"})],
            },
            "certificate-authority-data is not base64",
        ),
        (
            {
                "current-context": "a",
                "contexts": [context("a", "c")],
                "clusters": [cluster("c", **{"certificate-authority": "/does/not/exist"})],
            },
            "cannot read /does/not/exist",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, parts: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidObject, match=complaint):
        load_context([write(tmp_path / "config", **parts)])


def test_no_file_at_all_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(InvalidObject, match=r"looked for .*absent"):
        load_context([tmp_path / "absent"])


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("{")
    with pytest.raises(InvalidObject, match="config is not YAML"):
        load_context([path])


def test_where_kubeconfigs_are_looked_for() -> None:
    assert kubeconfig_paths(Path("/x"), {"KUBECONFIG": "/a"}) == [Path("/x")]
    assert kubeconfig_paths(None, {"KUBECONFIG": "/a::/b"}) == [Path("/a"), Path("/b")]
    assert kubeconfig_paths(None, {"HOME": "/home/me"}) == [Path("/home/me/.kube/config")]
