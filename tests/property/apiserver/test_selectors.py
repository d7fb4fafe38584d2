import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.apiserver.resources import crd_documents, load_registry
from swarmkeep.apiserver.selectors import parse_field_selector, parse_label_selector
from swarmkeep.errors import UserError

CHECKPOINTS = load_registry(crd_documents()).by_plural("swarmkeep.dev", "v1alpha1", "checkpoints")

KEYS = st.sampled_from(["a", "b", "swarmkeep.dev/node", "in", "x-1"])
VALUES = st.sampled_from(["", "n1", "v.1", "notin", "X_2", "7"])
LABELS = st.dictionaries(KEYS, VALUES)

Term = tuple[str, str, list[str]]
TERMS = st.lists(
    st.one_of(
        st.tuples(KEYS, st.sampled_from(["=", "==", "!="]), st.lists(VALUES, min_size=1, max_size=1)),
        st.tuples(KEYS, st.sampled_from(["in", "notin"]), st.lists(VALUES, min_size=1, max_size=3)),
        st.tuples(KEYS, st.sampled_from(["exists", "!"]), st.just([])),
    ),
    max_size=4,
)


def written(term: Term, space: str) -> str:
    key, operator, values = term
    if operator == "exists":
        return key
    if operator == "!":
        return f"!{key}"
    if operator in ("in", "notin"):
        return f"{key} {operator} ({f',{space}'.join(values)})"
    return f"{key}{space}{operator}{space}{values[0]}"


def naively(term: Term, labels: dict[str, str]) -> bool:
    key, operator, values = term
    return {
        "=": labels.get(key) == next(iter(values), None),
        "==": labels.get(key) == next(iter(values), None),
        "!=": labels.get(key) != next(iter(values), None),
        "in": key in labels and labels[key] in values,
        "notin": key not in labels or labels[key] not in values,
        "exists": key in labels,
        "!": key not in labels,
    }[operator]


@given(TERMS, LABELS, st.sampled_from(["", " ", "  "]))
def test_label_selectors_select_what_their_terms_say(terms: list[Term], labels: dict[str, str], space: str) -> None:
    selector = f",{space}".join(written(term, space) for term in terms)
    assert parse_label_selector(selector)(labels) is all(naively(term, labels) for term in terms)


@given(st.text(alphabet="ab=!,()<> in/.-\\é\n", max_size=20))
def test_any_text_is_a_label_selector_or_a_user_error(text: str) -> None:
    with contextlib.suppress(UserError):
        assert parse_label_selector(text)({"a": "b"}) in (True, False)


PATHS = st.sampled_from(["metadata.name", "spec.workload", "status.phase"])
TEXTS = st.text(alphabet="ab,=\\!é ", max_size=6)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


@given(st.lists(st.tuples(PATHS, st.sampled_from(["=", "==", "!="]), TEXTS), max_size=4), TEXTS, TEXTS)
def test_field_selectors_select_what_their_terms_say(terms: list[Any], name: str, workload: str) -> None:
    assert CHECKPOINTS is not None
    fields = {"metadata.name": name, "spec.workload": workload, "status.phase": ""}
    selector = ",".join(f"{path}{operator}{escaped(value)}" for path, operator, value in terms)
    wanted = all((fields[path] == value) is (operator != "!=") for path, operator, value in terms)
    obj = {"metadata": {"name": name}, "spec": {"workload": workload}}
    assert parse_field_selector(selector, CHECKPOINTS)(obj) is wanted


@given(st.text(alphabet="ametd.n=!,\\ ", max_size=20))
def test_any_text_is_a_field_selector_or_a_user_error(text: str) -> None:
    assert CHECKPOINTS is not None
    with contextlib.suppress(UserError):
        assert parse_field_selector(text, CHECKPOINTS)({}) in (True, False)
