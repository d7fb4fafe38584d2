"""Files with objects: what is read, and what is said about those that are wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from swarmkeep.cli.documents import parse_documents, read_documents
from swarmkeep.errors import InvalidObject

POLICY = """\
apiVersion: swarmkeep.dev/v1alpha1
kind: CheckpointPolicy
metadata:
  name: redis
spec:
  selector: {service: redis}
  schedule:
    every: 30s
  storage:
    - main
    - offsite
"""


def test_several_documents_of_a_file_with_their_places() -> None:
    first, second = parse_documents(f"# a comment\n---\n{POLICY}---\n\n---\n{POLICY}", "p.yaml")
    assert first.body["spec"]["schedule"] == {"every": "30s"}
    assert (first.place, second.place, second.number) == ("p.yaml, line 3", "p.yaml, line 17", 3)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spec.schedule.every", 8),
        ("spec.storage[1]", 11),
        ("spec.selector.service", 6),
        ("spec.schedule.absent", 7),
        ("nothing.at.all", 1),
        ("", 1),
    ],
)
def test_the_line_of_a_field_or_of_what_is_above_it(path: str, line: int) -> None:
    assert parse_documents(POLICY, "p.yaml")[0].line_of(path) == line


def test_lines_of_labels_with_dots_in_brackets() -> None:
    text = POLICY.replace("{service: redis}", "\n    matchLabels:\n      app.kubernetes.io/name: x")
    document = parse_documents(text, "p.yaml")[0]
    assert document.line_of("spec.selector.matchLabels[app.kubernetes.io/name]") == 8


def test_items_of_a_list_are_objects_of_their_own() -> None:
    item = "\n".join(f"    {line}" for line in POLICY.splitlines()).replace("    apiVersion", "  - apiVersion", 1)
    (document,) = parse_documents(f"apiVersion: v1\nkind: List\nitems:\n{item}\n", "p.yaml")
    assert (document.body["kind"], document.line_of("spec.schedule.every")) == ("CheckpointPolicy", 11)


def test_json_is_yaml(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}')
    (document,) = read_documents([str(path)], recursive=False)
    assert document.body["metadata"] == {"name": "shop"}


def test_a_folder_gives_its_yaml_files_in_order_and_deeper_ones_on_request(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "notes.txt", "deep/x.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {path.stem}}}}}")
    names = [d.body["metadata"]["name"] for d in read_documents([str(tmp_path)], recursive=False)]
    deep = [d.body["metadata"]["name"] for d in read_documents([str(tmp_path)], recursive=True)]
    assert (names, deep) == (["a", "b"], ["a", "b", "x"])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(POLICY.encode())))
    (document,) = read_documents(["-"], recursive=False)
    assert document.place == "standard input, line 1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [1, 2", r"p\.yaml, line \d: did not find expected"),
        ("a: 1\n\tb: 2", r"p\.yaml, line 2: found a tab character|found character that cannot"),
        (
            POLICY.replace("every: 30s", "every: 30s\n    every: 40s"),
            'line 9: the key "every" stands here a second time',
        ),
        (f"{POLICY}---\nkind: x\n", r"p\.yaml, line 13: apiVersion not set"),
        ("- 1", "line 1: an object is a mapping with apiVersion, kind and metadata, not a list"),
        ("hello", "not a text"),
        (POLICY.replace("kind: CheckpointPolicy", "kind: 5"), "kind not set"),
        (POLICY.replace("name: redis", "name: 5"), r"metadata\.name of the CheckpointPolicy must be a text"),
        (POLICY.replace("  name: redis", "  namespace: x"), r"metadata\.name"),
        (POLICY.replace("name: redis", "name: a\n  namespace: [1]"), r"metadata\.namespace"),
        (POLICY.replace("every:", "on:"), 'line 8: YAML reads the key on as true or false: write "on" in quotes'),
        (POLICY.replace("30s", "!!python/object/apply:os.system [x]"), "line 8: the tag .* is not allowed"),
        (POLICY.replace("30s", ".nan"), r"line 8: \.nan cannot be said in JSON"),
        (POLICY.replace("30s", "{? [1]: 2}"), "a key must be a text"),
        (f"{POLICY}---\n{POLICY.replace('30s', '*nothing')}", r"line 20: found undefined alias"),
        ("apiVersion: v1\nkind: List\nitems: {}\n", "items of a List must be a list"),
        ("&a {b: *a}", "an alias refers to what it stands in"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, complaint: str) -> None:
    if complaint.startswith("items"):
        text = text.replace("{}", "{a: 1}")
    with pytest.raises(InvalidObject, match=complaint):
        parse_documents(text, "p.yaml")


def test_a_second_document_is_counted_in_complaints() -> None:
    with pytest.raises(InvalidObject, match=r"line 15 \(document 2\)"):
        parse_documents(f"{POLICY}---\na: 1\nb: 1\na: 2\n", "p.yaml")


def test_a_small_file_that_expands_without_end_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InvalidObject, match="more than 200000 values"):
        parse_documents("\n".join(lines), "bomb.yaml")


def test_a_file_too_deep_is_refused() -> None:
    with pytest.raises(InvalidObject, match=r"deep\.yaml"):
        parse_documents("[" * 5000, "deep.yaml")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), r"has no \.yaml, \.yml, \.json files; -R looks"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not UTF-8 text"),
        (lambda path: path.write_text("# nothing\n"), "no objects were found"),
    ],
)
def test_files_that_give_nothing_are_named(tmp_path: Path, make: object, complaint: str) -> None:
    path = tmp_path / "p"
    make(path)  # type: ignore[operator]
    with pytest.raises(InvalidObject, match=complaint):
        read_documents([str(path)], recursive=False)
