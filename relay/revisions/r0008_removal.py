"""Revision 0008, who removes rows hears the way that is meant for them. Frozen once released: never edit, add one.

The functions refuse as before. Their hint names what removes from this table, if anything does, and how a database for
tests is emptied, which is what most people want who meet it.
"""

from __future__ import annotations

_TESTS = "A database for tests is emptied by its owner with: relay.testing.empty(connection)"
_PRUNE = "What finished long ago is removed with: relay prune"
_DROP = "A month goes as a whole, with: relay archive --drop"

_REFUSE = r"""
    create or replace function {schema}.refuse_removal() returns trigger language plpgsql
        SEARCH_PATH as $body$
    begin
        if tg_op = 'DELETE' and tg_argv[0] = 'prunable' and current_setting('relay.pruning', true) = 'on' then
            return null;
        end if;
        raise exception using
            errcode = 'restrict_violation',
            message = 'nothing is removed from ' || tg_table_schema || '.' || tg_table_name,
            hint = HINT;
    end
    $body$
"""
_KEEP = r"""
    create or replace function {schema}.keep_archive() returns trigger language plpgsql
        SEARCH_PATH as $body$
    begin
        raise exception using
            errcode = 'restrict_violation',
            message = 'nothing is removed from ' || tg_table_schema || '.' || tg_table_name,
            hint = HINT;
    end
    $body$
"""
_OF_ROWS = f"case tg_argv[0] when 'prunable' then '{_PRUNE}. ' else 'It is kept for ever. ' end || '{_TESTS}'"


def _with(text: str, hint: str, path: str = "") -> str:
    return text.replace("HINT", hint).replace("\n        SEARCH_PATH", path)


_PATH = "\n        set search_path = pg_catalog, pg_temp"

UPGRADE: tuple[str, ...] = (
    _with(_REFUSE, _OF_ROWS, _PATH),
    _with(_KEEP, f"'{_DROP}. {_TESTS}'", _PATH),
)

DOWNGRADE: tuple[str, ...] = (
    _with(_REFUSE, f"'{_PRUNE}'"),
    _with(_KEEP, f"'{_DROP}'"),
)
