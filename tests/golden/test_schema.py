"""Every function and view as a migrated database has it: revisions replace them step by step, here is the newest text.

Under ``functions/`` and ``views/``, a file each; with ``pytest tests/golden --update-golden`` they are written anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy import Engine, text

from tests.fixtures.golden import GOLDEN, UPDATE, Golden

# Names are written out in full where the schema is not searched. A function's triggers are printed below it.
_FUNCTIONS = """
select f.proname, string_agg(
    rtrim(pg_get_functiondef(f.oid), e'\n') || ';' || coalesce(e'\n\n' || used.by, ''), e'\n\n' order by f.oid)
from pg_proc f
left join lateral (
    select string_agg(pg_get_triggerdef(t.oid) || ';', e'\n' order by t.tgrelid::regclass::text, t.tgname)
    from pg_trigger t where t.tgfoid = f.oid and t.tgparentid = 0 and not t.tgisinternal) as used(by) on true
where f.pronamespace = 'relay'::regnamespace group by f.proname"""
_VIEWS = """
select relname, format(
    e'create view relay.%s%s as\n%s', relname, ' with (' || array_to_string(reloptions, ', ') || ')',
    pg_get_viewdef(oid))
    || coalesce(format(e'\n\ncomment on view relay.%s is %L;', relname, obj_description(oid, 'pg_class')), '')
from pg_class where relkind = 'v' and relnamespace = 'relay'::regnamespace"""
KINDS = {"functions": _FUNCTIONS, "views": _VIEWS}

Newest = Mapping[str, Mapping[str, str]]


@pytest.fixture
def newest(engine: Engine) -> Newest:
    """Kind -> name -> text."""
    with engine.connect() as connection:
        if int(str(connection.scalar(text("show server_version_num")))) < 180000:
            pytest.skip("the files hold what PostgreSQL 18 prints; older servers write views in other words")
        connection.exec_driver_sql("set search_path = pg_catalog")
        asked = {kind: connection.execute(text(question)) for kind, question in KINDS.items()}
        return {kind: {str(name): str(definition) for name, definition in rows} for kind, rows in asked.items()}


@pytest.mark.usefixtures("independent")  # the server writes a view down as settings of the role say
@pytest.mark.parametrize("kind", KINDS)
def test_the_newest_text_is_the_reviewed_one(kind: str, newest: Newest, golden: Golden) -> None:
    for name, definition in newest[kind].items():
        golden(f"{kind}/{name}.sql", "\n".join(line.rstrip() for line in definition.splitlines()))


@pytest.mark.usefixtures("independent")
@pytest.mark.parametrize("kind", KINDS)
def test_no_file_is_left_of_what_a_revision_dropped(kind: str, newest: Newest, pytestconfig: pytest.Config) -> None:
    left = {path for path in (GOLDEN / kind).glob("*.sql") if path.stem not in newest[kind]}
    if pytestconfig.getoption(UPDATE):
        for path in left:
            path.unlink()
    assert [path.name for path in left if path.exists()] == [], f"dropped by a revision: pytest tests/golden {UPDATE}"
