"""Revision 0008, limits for every column an application writes. Frozen once released: never edit, add one.

Looked at when a row is inserted (``r0008_inserts``) and not by a check of the table: a check is made again at every
update, and a row that is there already could never be settled or discarded. A sentence says which column it is, its
size and its limit; never a value: that may be anybody's, and long.

Times are those that every reader can read: the years 1 to 9999, and a day less at either end, so that it is the same in
every zone. Infinity is how a message is held; one that a person or an answer has held has a history.
"""

from __future__ import annotations

# Octets. Two keys, or an account and a key, fit into one entry of an index (2,704).
BYTES = {
    "account": 256,
    "target_group": 256,
    "target_app_key": 256,
    "ordering_key": 512,
    "dedupe_key": 512,
    "producer": 256,
}
JSON_BYTES = {"json_ex_content": 122_880, "headers": 16_384}
# They stand in lines of a log, in tables on a terminal, in the name of a pause.
NAMES = ("topic", "account", "target_group", "target_app_key", "producer")

# The rest of ASCII's and of Latin-1's control characters, separators of lines, what turns the direction of a text, and
# what nobody sees: with it two names look alike, and one of nothing else like none. Joiners (200c, 200d) and selectors
# of a variant (fe00 and on) belong to how some scripts and pictures are written; only a name of nothing else is blank.
# Written so that it reads the same whatever the session thinks of a backslash. ``outbox/columns.py`` has the same two
# lists, and ``showing.py`` shows nothing of the first as it is.
CONTROLS = (
    r"E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f"
    r"\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f"
    r"\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]'"
)
ASCII_CONTROLS = r"E'[\\u0001-\\u001f\\u007f]'"
BLANK = r"E'^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'"

FIRST = "cast('0001-01-02 00:00+00' as timestamp with time zone)"
END = "cast('9999-12-31 00:00+00' as timestamp with time zone)"


# A view reads a column of rows that are older than its limit; what is larger than this, as stored, is not read at all:
# one such row would end every look at the view. Whatever else the view has by now stays as it is.
_WHOLE = "(o.headers)::text"
_BOUNDED = "( CASE WHEN (pg_column_size(o.headers) <= 65536) THEN o.headers ELSE NULL::json END)::text"


def _view_reads(before: str, after: str) -> str:
    return f"""
    do $body$
    declare
        view regclass := cast('{{schema}}.audit_message' as regclass);
        reads text := regexp_replace(pg_get_viewdef(view), '[[:space:]]+', ' ', 'g');
    begin
        if position('{before}' in reads) > 0 then
            execute concat('create or replace view ', view, ' with (security_barrier) as ',
                replace(reads, '{before}', '{after}'));
        end if;
    end
    $body$
    """


UPGRADE: tuple[str, ...] = (_view_reads(_WHOLE, _BOUNDED),)

DOWNGRADE: tuple[str, ...] = (_view_reads(_BOUNDED, _WHOLE),)
