"""What is wrong with a setting, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import SettingsError

MUST: Mapping[str, str] = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be true or false",
    "datetime_parsing": "must be a moment like 2025-11-05T13:30",
    "datetime_from_date_parsing": "must be a moment like 2025-11-05T13:30",
    "ip_v4_network": "must be addresses or networks like 192.0.2.7 or 192.0.2.0/24",
    "ip_v6_network": "must be addresses or networks like 192.0.2.7 or 192.0.2.0/24",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "literal_error": "must be {expected}",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters at most",
}
"""What a value must be, by the type of pydantic's error."""


def refusal(exc: ValidationError) -> SettingsError:
    """One sentence for each wrong setting."""
    return SettingsError("; ".join(dict.fromkeys(sentence_of(error) for error in exc.errors())))


def sentence_of(error: ErrorDetails) -> str:
    """Returns what is wrong with a variable, in the words of its validator or of MUST. The values of secrets and addresses are
    not shown."""
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return reason
    if error["type"] != "value_error":
        bounds = {
            name: int(x) if isinstance(x, float) and x.is_integer() else x for name, x in error.get("ctx", {}).items()
        }
        reason = MUST.get(error["type"], "is not valid").format(**bounds).replace("'", "")
    name = str(error["loc"][0])
    shown_value = (
        ""
        if any(word in name.upper() for word in ("KEY", "SECRET", "URL", "ORIGINS", "HOSTS", "ENDPOINT", "GATEWAY"))
        else f" (it is {error['input']!r})"
    )
    return f"{name}: {reason[:1].lower()}{reason[1:]}{shown_value}"
