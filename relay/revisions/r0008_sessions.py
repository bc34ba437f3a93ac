"""Revision 0008, functions that run the same in anybody's session. Frozen once released: never edit, add one.

A function runs with the settings of whoever calls it. Those that had no place of their own where names are looked up
get one: a login with a schema of its own could else put an operator of its own in the way of what refuses a change.
Where a text in a function has a backslash, it is a backslash whatever the caller thinks of it: masking would fail, or
mask nothing. And a month of the archive is a plain table where the archive is, whatever the caller's own would be."""

from __future__ import annotations

_NAMES = ("refuse_change()", "refuse_undoing()", "refuse_removal()", "keep_archive()")
_BACKSLASHES = ("mask_text(text)", "mask_content(json, text[])")

UPGRADE: tuple[str, ...] = (
    *(f"alter function {{schema}}.{function} set search_path = pg_catalog, pg_temp" for function in _NAMES),
    *(f"alter function {{schema}}.{function} set standard_conforming_strings = on" for function in _BACKSLASHES),
    "alter function {schema}.open_archive(date) set default_tablespace = ''",
    "alter function {schema}.open_archive(date) set default_table_access_method = 'heap'",
)

DOWNGRADE: tuple[str, ...] = (
    "alter function {schema}.open_archive(date) reset default_table_access_method",
    "alter function {schema}.open_archive(date) reset default_tablespace",
    *(f"alter function {{schema}}.{function} reset standard_conforming_strings" for function in _BACKSLASHES),
    *(f"alter function {{schema}}.{function} reset search_path" for function in _NAMES),
)
