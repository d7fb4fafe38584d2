from typing import Any

import pytest

from swarmkeep.apiserver.jsonpath import find
from swarmkeep.errors import InvalidObject

DOCUMENT: dict[str, Any] = {
    "metadata": {"labels": {"swarmkeep.dev/node": "n1"}, "name": "w"},
    "list": [{"type": "A", "n": 1}, {"type": "Ready", "n": 2}, {"n": 3}],
    "map": {"x": 1, "y": 2},
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".metadata.name", ["w"]),
        ("{.metadata.name}", ["w"]),
        ("metadata.name", ["w"]),
        ("$.metadata.name", ["w"]),
        (r".metadata.labels.swarmkeep\.dev/node", ["n1"]),
        (".metadata.labels['swarmkeep.dev/node']", ["n1"]),
        (".list[0].n", [1]),
        (".list[-1].n", [3]),
        (".list[7].n", []),
        (".list[*].n", [1, 2, 3]),
        (".map.*", [1, 2]),
        ('.list[?(@.type=="Ready")].n', [2]),
        (".list[?(@.type == 'Ready')].n", [2]),
        ('.list[?(@.type!="Ready")].n', [1, 3]),
        (".list[?(@.n==3)].n", [3]),
        (".list[?(@.n==true)].n", []),
        (".missing.deeper", []),
        (".metadata.name.deeper", []),
        ("", [DOCUMENT]),
    ],
)
def test_paths_lead_to_values(path: str, values: list[Any]) -> None:
    assert find(path, DOCUMENT) == values


@pytest.mark.parametrize("path", [".a[", ".a[?(@.b)]", ".a..b", ".a[1:2]"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidObject, match="is not understood at"):
        find(path, DOCUMENT)
