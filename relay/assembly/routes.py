"""Where the messages of accounts go that do not go where all others do: their producers, made from what a source says.

Accounts that name the same producer with the same options share it. It is made when such an account is first looked
up, opened by the worker when the first message comes, and forgotten once no account names it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import Lock
from weakref import WeakValueDictionary

from relay.accounts.directions import Directions
from relay.assembly.producers import (
    Credentials,
    GivenOptions,
    call_messages,
    context_of,
    given_options,
    has_ours,
    ours,
    short_lease,
    wants_credentials,
)
from relay.errors import ConfigurationError
from relay.producers import ProducerOptions, known_names, load, options_kind
from relay.producers.options import fingerprint_of
from relay.settings import CREDENTIAL_PARTS, PRODUCER_KEY, Settings
from relay.settings import load as load_settings
from relay.wording import nearest
from relay.worker import Route

_SEE = "docs/accounts.md: an account may name its producer, and options of that producer beside it."


class Routes:
    """Made once for a worker, or for a question. Any thread may ask."""

    def __init__(self, settings: Settings, credentials: Credentials, now: Callable[[], float]) -> None:
        self._settings = settings
        self._credentials = credentials
        self._now = now
        self._routes: WeakValueDictionary[str, Route] = WeakValueDictionary()
        self._making = Lock()
        self._given = cache(lambda: given_options(settings)[0])

    def understand(self, said: Directions) -> Route | None:
        """The route of these directions; None: that of the settings, with nothing of its own.

        Raises ConfigurationError naming every problem, without a value that may be secret.
        """
        name = said.producer or self._settings.producer
        if name not in known_names():
            raise ConfigurationError(f"{said.where}: there is no producer {name!r}{nearest(name, known_names())}", _SEE)
        self._refuse_unknown(name, said)
        if wants_credentials(name) and not said.parts:
            raise ConfigurationError(
                f"{said.where} has no app_key and no app_secret, which the producer {name} needs", _SEE
            )
        if name == self._settings.producer and not said.options:
            return None
        options = self._options(name, said)
        fingerprint = fingerprint_of(name, options)
        with self._making:
            route = self._routes.get(fingerprint)
            if route is None:
                producer = load(name)(context_of(self._settings, options, self._credentials, self._now))
                route = Route(producer, call_messages(self._settings, options), fingerprint, name)
                self._routes[fingerprint] = route
            return route

    def _refuse_unknown(self, name: str, said: Directions) -> None:
        known = options_kind(name).model_fields
        also = (*known, PRODUCER_KEY, *CREDENTIAL_PARTS)
        problems = [
            f"{said.where}: {option}: unknown option of the producer {name}{nearest(option, also)}"
            for option in said.options
            if option not in known
        ]
        if problems:
            raise ConfigurationError("\n".join(problems), _SEE)

    def _options(self, name: str, said: Directions) -> ProducerOptions:
        if has_ours(self._settings, name):
            return self._ours(name, said)
        common = self._given().get(name, GivenOptions())
        beside = {option: (value, f"{said.where}: {option}") for option, value in said.options.items()}
        given = GivenOptions(common.written, common.files, {**common.said, **beside})
        options, problems = given.read(name)
        problems = problems or short_lease(self._settings, name, options, given)
        if problems or options is None:
            raise ConfigurationError("\n".join(problems), _SEE)
        return options

    def _ours(self, name: str, said: Directions) -> ProducerOptions:
        """Those that are among the relay's own: checked by the same rules, under the names they have here."""
        settings = self._settings.model_copy(update={"producer": name})
        beside = {f"{name}_{option}": value for option, value in said.options.items()}
        try:
            return ours(load_settings(settings, **beside), name)
        except ConfigurationError as error:
            prefix = f"RELAY_{name}_".upper()
            lines = [line.partition(": ") for line in str(error).splitlines()]
            told = []
            for given, _, rest in lines:
                option = given.removeprefix(prefix).lower()
                # Whoever reads this has given it beside the account, under its own name.
                told.append(f"{said.where}: {option}: {rest.removesuffix(f' (given as {name}_{option})')}")
            raise ConfigurationError("\n".join(told), error.hint) from None
