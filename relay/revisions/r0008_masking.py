"""Revision 0008, masking that is not led astray by how a number is written. Frozen once released: never edit, add one.

A phone number in full-width digits, or in ``\\u`` escapes of JSON that stands as a text in JSON (in any depth), is read
as the digits it means. Where that shows something to mask, the text as read is what is shown. Country codes may begin
with 00, and an area code may stand in brackets, with a blank, or right before the number.

A number that would fill pages (``1e131071`` is 10 bytes of JSON, and 131,072 digits in jsonb) is not converted: 1,900
of them in one content took an auditor's server 3 GB.
"""

from __future__ import annotations

from relay.revisions.r0004_masking import UPGRADE as BEFORE


def _again(name: str) -> str:
    (text,) = (statement for statement in BEFORE if f"create function {{schema}}.{name}(" in statement)
    return text.replace("create function", "create or replace function")


# Texts are looked at outside of strings only where a look at the whole finds something: a hash may well have 4e123.
_HUGE = r"""
        if cast(content as text) ~ '[0-9][eE][+-]?[0-9]{3}'
            and regexp_replace(cast(content as text), '"([^"\\]|\\.)*"', '""', 'g') ~ '[0-9][eE][+-]?[0-9]{3}'
        then
            return '{"masked": "cannot be shown"}';
        end if;
        value := cast(content as jsonb);"""

_MASK_TEXT = r"""
    create or replace function {schema}.mask_text(said text) returns text
        language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $body$
    declare
        plain text := said;
        masked text;
    begin
        if position('\u' in plain) > 0 then
            plain := regexp_replace(plain, '\\+u(003|[fF][fF]1)([0-9])', '\2', 'g');
            plain := regexp_replace(plain, '\\+u0040', '@', 'g');
            plain := regexp_replace(plain, '\\+u002[bB]', '+', 'g');
            plain := regexp_replace(plain, '\\+u002[dD]', '-', 'g');
        end if;
        if getdatabaseencoding() = 'UTF8' and octet_length(plain) > length(plain) then
            plain := translate(plain,
                (select string_agg(chr(65296 + digit), '' order by digit) from generate_series(0, 9) as digit)
                || chr(65291) || chr(65293) || chr(65312), '0123456789+-@');
        end if;
        masked := regexp_replace(plain,
            '(?<![0-9])([1-9][0-9]{2})[0-9]{3}(18|19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[0-9]{2}'
            || '([0-9][0-9Xx])(?![0-9])', '\1*************\5', 'g');
        masked := regexp_replace(masked,
            '(?<![0-9])(((\+|00)?86[ -]?)?1[3-9][0-9])[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9])', '\1****\4', 'g');
        masked := regexp_replace(masked,
            '(?<![0-9])(\(?0[1-9][0-9]{1,2}\)?[ -]?)[0-9]{3,4}[ -]?([0-9]{4})(?![0-9])', '\1****\2', 'g');
        masked := regexp_replace(masked,
            '(?<![0-9])((\+|00)86[ -]?[1-9][0-9]{1,2}[ -]?)[0-9]{3,4}[ -]?([0-9]{4})(?![0-9])', '\1****\3', 'g');
        masked := regexp_replace(masked,
            '([A-Za-z0-9])[A-Za-z0-9._+-]*@([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)', '\1***@\2', 'g');
        return case when masked = plain then said else masked end;
    end
    $body$
    """

UPGRADE: tuple[str, ...] = (
    _MASK_TEXT,
    _again("mask_content").replace("\n        value := cast(content as jsonb);", _HUGE),
)

DOWNGRADE: tuple[str, ...] = (_again("mask_content"), _again("mask_text"))
