"""What relay check says about settings of the role that it cannot overrule, and about who may plant functions."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, make_url

from relay.checks import surroundings
from tests.fixtures.checked import Check, Facts, run


@pytest.fixture
def mine(database_url: str) -> str:
    """The beginning of a statement about the login, in the database of this test alone."""
    url = make_url(database_url)
    return f'alter role {url.username} in database "{url.database}"'


def about(facts: Facts, fact: str, *words: str) -> list[tuple[str, str]]:
    """State and hint of what the fact says about these."""
    return [(f["state"], f["hint"]) for f in facts[fact] if all(word in f["sentence"] for word in words)]


def test_triggers_that_do_not_fire_are_a_fault_whoever_has_it_set(check: Check, superuser: Engine, mine: str) -> None:
    for whose in (mine, mine.replace(mine.split()[2], "all")):
        run(superuser, f"{whose} set session_replication_role = replica")
        ((state, hint),) = about(check(code=1), "role settings", "session_replication_role", "no trigger fires")
        assert state == "fail"
        run(superuser, hint)
        assert not about(check(), "role settings", "session_replication_role")


@pytest.mark.parametrize("door", ["relay.redacting", "relay.pruning"])
def test_a_door_that_is_left_open_is_named_whoever_has_it_open(check: Check, superuser: Engine, door: str) -> None:
    """It is opened for one transaction at a time; with this, no session of that role meets what guards the tables."""
    run(superuser, f'alter role current_user in database "{superuser.url.database}" set {door} = on')
    ((state, hint),) = about(check(), "role settings", f"{door} = on is set for {superuser.url.username}")
    assert state == "warn"
    run(superuser, hint)
    assert not about(check(), "role settings", f"set for {superuser.url.username}")


def test_what_is_not_ours_to_overrule_is_a_warning(check: Check, superuser: Engine, mine: str) -> None:
    run(superuser, f"{mine} set synchronous_commit = off", f"{mine} set temp_file_limit = '100MB'")
    facts = check()
    login = mine.split()[2]
    assert [state for state, _ in about(facts, "role settings", "synchronous_commit", login)] == ["warn"]
    assert [state for state, _ in about(facts, "role settings", "temp_file_limit", login)] == ["warn"]


def test_what_is_overruled_or_does_no_harm_is_fine(
    check: Check, superuser: Engine, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = surroundings._SET.replace("where setdatabase", "where setrole <> 0 and setdatabase")
    monkeypatch.setattr(surroundings, "_SET", asked)  # all databases of the tests may be hostile ones
    run(superuser, f"{mine} set datestyle = 'SQL, DMY'", f"{mine} set work_mem = '64kB'")
    ((state, _),) = about(
        check(), "role settings", "overruled in our sessions: DateStyle", "left as they are: work_mem"
    )
    assert state == "ok"


def test_who_may_plant_functions_is_named_with_the_line_that_ends_it(check: Check, superuser: Engine) -> None:
    """Everybody in public, anybody in the schema of the relay; the owners are no strangers."""
    run(superuser, "revoke create on schema public from public")
    assert [fact["state"] for fact in check()["public"]] == ["ok"]
    run(superuser, "grant create on schema public to public; grant create on schema relay to pg_monitor")
    facts = check()
    told = about(facts, "public", "everybody", "schema public") + about(facts, "public", "pg_monitor", "schema relay")
    assert [state for state, _ in told] == ["warn", "warn"]
    run(superuser, *(hint for _, hint in told))
    assert [fact["state"] for fact in check()["public"]] == ["ok"]
