"""Who may act, and what becomes of an act on its way: the person, the form, PostgreSQL's right, the transaction.

Whether a person may act at all is said by the settings (``Actors``); which acts the dashboard's login may call is asked
of PostgreSQL, so that no button is shown which cannot work. The truth is what PostgreSQL refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from starlette.requests import Request

from relay import reports
from relay.assembly.dashboard import Reading
from relay.assembly.people import user_at_host
from relay.dashboard.access import Access
from relay.dashboard.actions.revealing import in_words
from relay.dashboard.forms import sent
from relay.dashboard.people import is_name
from relay.dashboard.visit import Acting, NotAllowed, NotUnderstood, Page, PageVisit
from relay.errors import ConfigurationError, RelayError
from relay.reports import Rights
from relay.settings import Settings

RIGHTS_SECONDS = 5.0
NONE = frozenset[str]()
OPERATOR = "relay_operator"
ACTOR_COOKIE = "relay_actor"


@dataclass(frozen=True, slots=True)
class Action:
    """``look``: the preview, a plain question with these ``names``; ``several``: those that may be given repeatedly.

    ``act``: what its form does.
    """

    verb: str
    names: tuple[str, ...]
    look: Callable[[PageVisit], Page]
    act: Callable[[PageVisit, Mapping[str, str], Acting], Page]
    several: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Actors:
    """``allowed``: whether anybody may act. ``names``: who; none: everybody who may look."""

    allowed: bool = False
    names: frozenset[str] = NONE

    def may(self, name: str | None) -> bool:
        """Whether this person may; None: somebody who need not say a name."""
        return self.allowed and (not self.names or name in self.names)


def actors(settings: Settings, access: Access) -> Actors:
    """Raises ConfigurationError where names are wanted of people who never say theirs."""
    if not settings.dashboard_allow_actions:
        return Actors()
    names = frozenset(one.strip() for one in settings.dashboard_actors.split(",") if one.strip())
    if settings.dashboard_actors.strip() and not names:
        raise ConfigurationError(
            "RELAY_DASHBOARD_ACTORS names nobody",
            "Write names with commas; leave it empty where everybody who may look may act.",
        )
    if names and access.only_here:
        raise ConfigurationError(
            "RELAY_DASHBOARD_ACTORS names people, and nobody has to say who it is",
            "Set RELAY_DASHBOARD_USERS_FILE, or RELAY_DASHBOARD_USER_HEADER, too: docs/dashboard.md",
        )
    return Actors(True, names)


def verbs(visit: PageVisit, who: Actors) -> frozenset[str]:
    """Which acts this person sees buttons for: those that the login may call, asked not long ago."""
    if not who.may(visit.viewer.name):
        return NONE
    try:
        return visit.ask_once("rights", RIGHTS_SECONDS, reports.rights).acts
    except RelayError:
        return NONE


async def prepared(action: Action, request: Request, who: Actors, reading: Reading) -> Callable[[PageVisit], Page]:
    """What is to be done in a thread: the preview, or what its form says."""
    form: Mapping[str, str] | NotUnderstood | None = None
    if request.method == "POST":
        try:
            form = await sent(request)
        except NotUnderstood as error:
            form = error

    def rights() -> Rights:
        """Over a connection that is given back before anybody acts: each thread has one at a time."""
        with reading.snapshot() as connection:
            return reports.rights(connection)

    def done(visit: PageVisit) -> Page:
        if not who.may(visit.viewer.name):
            raise NotAllowed("refused.actor", name=visit.viewer.name or "-")
        if isinstance(form, NotUnderstood):
            raise form
        if form is None:
            visit.require_known(action.names, action.several)
        known = visit.ask(reports.rights) if form is None else visit.recent.get("rights", RIGHTS_SECONDS, rights)
        missing = _without_right(action.verb, known.login, (visit.asked if form is None else form).get("id", ""))
        if action.verb not in known.acts:
            raise missing
        try:
            if form is None:
                return action.look(visit)
            return _remembered(visit, form, action.act(visit, form, reading.acting))
        except RelayError as error:
            if reading.lacks_a_right(error):
                raise missing from error
            raise

    return done


def _remembered(visit: PageVisit, form: Mapping[str, str], page: Page) -> Page:
    """With the name of who need not log in, for the next form."""
    anonymous = visit.viewer.name is None and page.status == 200
    return replace(page, remember=form.get("actor", "").strip()) if anonymous else page


def remembered(cookies: Mapping[str, str]) -> str:
    """How somebody at this machine is called who need not log in: as last time, else as the system knows its user."""
    name = unquote(cookies.get(ACTOR_COOKIE, ""))
    return name if is_name(name) else user_at_host()


def _without_right(verb: str, login: str, written: str) -> NotAllowed:
    if verb == "reveal":
        return NotAllowed("refused.reveal", login=login, command=in_words(written))
    return NotAllowed("refused.right", login=login, verb=verb, command=f"grant {OPERATOR} to {quoted_login(login)};")


def quoted_login(login: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + login.replace('"', '""') + '"'
