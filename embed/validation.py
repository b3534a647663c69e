"""Say in words what is expected of a setting that has a wrong value. Imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "int_parsing_size": "a smaller number",
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text in quotes",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "missing": "a value: there is no default",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "{min_length} or more of them",
    "too_long": "{max_length} of them at most",
}


def explain(error: Mapping[str, Any]) -> str:
    """Return what pydantic expected of a value.

    >>> explain({"type": "less_than_equal", "ctx": {"le": 1}, "input": 2})
    'expected 1 or less'
    >>> explain({"type": "tuple_type", "input": 2})
    'expected a list: [2]'
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind in {"value_error", "assertion_error"}:
        return str(context["error"])
    if kind == "tuple_type":
        return f"expected a list: [{error['input']!r}]"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind].format(**context)}"
    return str(error["msg"]).lower()


def list_errors(error: ValidationError) -> list[Any]:
    """Return what pydantic found, but no list that is too short by what is wrong in it."""
    return [
        found
        for found in error.errors()
        if found["type"] != "too_short" or len(found["input"]) < found["ctx"]["min_length"]
    ]
