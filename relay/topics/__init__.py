"""What an application sends, as JSON Schema: the topics of a module in one document, and what a new one breaks.

    found      module:name ──> its classes of relay.Topic
    document   classes ──> {"topics": {topic: schema}}, as they are written (by alias, in the mode of serialization)
    comparing  two documents ──> what the newer one no longer accepts

Two classes of one topic are both right: its schema is an ``anyOf``. Nothing here asks a database.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.outbox.topic import Topic

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def found(place: str, folder: str) -> list[type[Topic]]:
    """The classes with a topic that ``module`` or ``module:name`` holds, itself or in a list; never none (RelayError).

    ``folder`` is looked in for the module before all others are.
    """
    module_name, _, name = place.partition(":")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            told = (note.removeprefix("hint: ") for note in getattr(error, "__notes__", ()))  # an extra of ours
            hint = next(told, "Run this where your application runs.")
            raise RelayError(f"{module_name} imports {error.name}, which is not installed.", hint) from error
        hint = "Name it as import does, from the folder you are in: shop.messages, or shop.messages:TOPICS"
        raise RelayError(f"There is no module {error.name}.", hint) from None
    except Exception as error:
        hint = f"It is imported for its topics: python -c 'import {module_name}' shows where it raises."
        raise RelayError(f"The module {module_name} raises {type(error).__name__} when imported.", hint) from error
    if name and not hasattr(module, name):
        raise RelayError(f"The module {module_name} has no {name}.", "Leave it out, to have all topics of the module.")
    held = _classes(getattr(module, name) if name else vars(module))
    if not held:
        hint = 'A topic is a class: class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace")'
        raise RelayError(f"{place} holds no topic.", hint)
    return held


def _classes(held: Any) -> list[type[Topic]]:
    from relay.outbox.topic import Topic

    candidates: Iterable[Any] = (held,)
    if isinstance(held, Mapping):
        candidates = held.values()
    elif isinstance(held, Iterable) and not isinstance(held, type):
        candidates = held
    classes = {each for each in candidates if isinstance(each, type) and issubclass(each, Topic) and each.__topic__}
    return sorted(classes, key=lambda each: (each.__topic__, each.__qualname__, each.__module__))


def document(classes: Iterable[type[Topic]]) -> dict[str, Any]:
    """The schemas of these classes by topic, each one whole; the same classes give the same document.

    Raises RelayError where pydantic knows no schema of a field.
    """
    by_topic: dict[str, list[type[Topic]]] = {}
    for each in classes:
        by_topic.setdefault(each.__topic__, []).append(each)
    return {"$schema": _DIALECT, "topics": {topic: _schema(each) for topic, each in sorted(by_topic.items())}}


def _schema(classes: list[type[Topic]]) -> dict[str, Any]:
    from pydantic.json_schema import GenerateJsonSchema

    class Exact(GenerateJsonSchema):
        def decimal_schema(self, schema: Any) -> dict[str, Any]:
            """With a word that it is no other text."""
            said = super().decimal_schema(schema)
            return said | {"format": "decimal"} if said.get("type") == "string" else said

    schemas = []
    for index, each in enumerate(classes):
        root = "#" if len(classes) == 1 else f"#/anyOf/{index}"
        by_alias = each.model_config.get("serialize_by_alias", True) is not False
        try:
            schema = each.model_json_schema(by_alias, f"{root}/$defs/{{model}}", Exact, "serialization")
        except RuntimeError as error:  # pydantic's PydanticUserError
            why = str(error).partition("\n")[0]
            hint = "Name one: Field(json_schema_extra=...), or pydantic's WithJsonSchema"
            raise RelayError(f"{each.__name__} has no JSON Schema: {why}", hint) from error
        schemas.append(schema)
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def saved(file: Path) -> dict[str, Any]:
    """A document that was written before; RelayError where this is none."""
    try:
        read = json.loads(file.read_bytes())
    except OSError as error:
        hint = "Name the file that relay topics --schema was saved in."
        raise RelayError(f"{file} cannot be read: {error.strerror}.", hint) from None
    except ValueError:
        read = None
    topics = read.get("topics") if isinstance(read, dict) else None
    if not isinstance(topics, dict):
        hint = "Save one: relay topics --schema shop.messages > topics.json"
        raise RelayError(f"{file} is no document of topics.", hint)
    return dict(read)
