"""``relay.Topic``: a pydantic model that is bound to a topic, so that a message is topic and content in one.

    class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace"):
        tid: int
        status: str

        def ordering_key(self) -> str:
            return str(self.tid)

    relay.add(session, TradeTrace(tid=4213000001, status="X_PACKAGED"))

The only room of the outbox that loads pydantic, and only when ``relay.Topic`` is asked for. What is written is told
in ``models``; what the schema of a topic may change is in ``relay.topics``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from relay.errors import MessageError
from relay.outbox.columns import checked_topic

if TYPE_CHECKING:
    from typing import Unpack

_FUNCTIONS = ("ordering_key", "dedupe_key")


class Topic(BaseModel):
    """Derive from it and name the topic: ``class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace")``.

    A class without one is for others to derive from; a class that derives from one with a topic has the same. An
    argument that is no field is refused, and no error of validation quotes what was given (``model_config`` of your own
    may say otherwise). Raises MessageError where the class is made if no message could have that topic.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    __topic__: ClassVar[str] = ""

    def __init_subclass__(cls, *, topic: str | None = None, **config: Unpack[ConfigDict]) -> None:
        try:
            super().__init_subclass__(**config)
        except TypeError as error:
            if not config:
                raise
            given = ", ".join(config)
            raise MessageError(
                f"The class {cls.__name__} takes no argument {given}.",
                f'Name the topic so: class {cls.__name__}(relay.Topic, topic="...").',
            ) from error
        if topic is not None:
            cls.__topic__ = checked_topic(topic)

    @classmethod
    def __pydantic_init_subclass__(cls, *, topic: str | None = None, **config: Any) -> None:
        super().__pydantic_init_subclass__(**config)
        for name in _FUNCTIONS:
            if name in cls.model_fields:
                raise MessageError(
                    f"{cls.__name__}.{name} is a field, and {name} is the function that gives the key.",
                    f'Call the field otherwise: {name}_: str = Field(serialization_alias="{name}")',
                )
            if not callable(getattr(cls, name)):
                raise MessageError(
                    f"{cls.__name__}.{name} is no function of the message.", f"Write: def {name}(self) -> str"
                )

    def ordering_key(self) -> str | None:
        """The ordering key of this message unless the insert names one; None: it has none."""
        return None

    def dedupe_key(self) -> str | None:
        """The dedupe key of this message unless the insert names one; None: it has none."""
        return None
