"""The options of a producer: a class of its own, whose fields are read, checked and told by the relay.

    class SpoolOptions(ProducerOptions):
        folder: Path                        needed: it has no default
        key: Secret | None = None           a secret: shown nowhere, may come from a file

The option ``folder`` of the producer ``spool`` is ``[producers.spool] folder`` in the TOML file and
RELAY_PRODUCER_SPOOL_FOLDER in the environment. A field that may hold a secret says so by its type, ``Secret`` or
pydantic's ``SecretStr``; in the environment RELAY_PRODUCER_SPOOL_KEY_FILE names a file with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretBytes, SecretStr, ValidationError

from relay.texts import secret
from relay.wording import problems_of

HIDDEN = "***"

Secret = Annotated[SecretStr, BeforeValidator(lambda value: secret(value) if isinstance(value, str) else value)]
"""Printable ASCII without what is around it; ``get_secret_value()`` gives it away."""

Timeout = Annotated[float, Field(gt=0, le=86_400)]
"""Seconds for a whole call. An option ``timeout_seconds`` bounds from below what RELAY_LEASE_SECONDS may be."""

BatchSize = Annotated[int, Field(ge=1, le=500)]
"""Messages in a call. An option ``batch_size`` counts in place of RELAY_BATCH_SIZE, which ends at 50."""


class ProducerOptions(BaseModel):
    """Frozen, and without options: derive from it. An error of a validator is shown, so it must not quote a value."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def secret_options(kind: type[ProducerOptions]) -> set[str]:
    """The names of those whose type says that they hold a secret, at whatever depth."""
    return {name for name, field in kind.model_fields.items() if _holds_secret(field.annotation)}


def validated(
    kind: type[ProducerOptions], given: Mapping[str, object], *, named: Callable[[str], str]
) -> tuple[ProducerOptions | None, list[str]]:
    """The options, or None and a line for each problem; ``named`` says under which name an option was given."""
    try:
        return kind.model_validate(dict(given)), []
    except ValidationError as error:
        return None, problems_of(error, kind.model_fields, hidden=secret_options(kind), named=named)


def shown(options: ProducerOptions) -> dict[str, Any]:
    """Every option as the ledger may know it: secrets hidden, passwords cut out of addresses."""
    hidden = secret_options(type(options))
    values = {name: getattr(options, name) for name in type(options).model_fields}
    return {
        name: HIDDEN if name in hidden else value if isinstance(value, bool | int | float) else _told(str(value))
        for name, value in values.items()
        if value is not None
    }


def fingerprint_of(name: str, options: ProducerOptions) -> str:
    """16 hex digits over the producer and all its options, secrets included."""
    given = json.dumps([name, options.model_dump()], default=_plain, sort_keys=True)
    return hashlib.sha256(given.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return str(value.get_secret_value() if isinstance(value, SecretStr | SecretBytes) else value)


def _told(text: str) -> str:
    scheme, there, rest = text.partition("://")
    if not there:
        return text
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _holds_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(map(_holds_secret, get_args(annotation)))
