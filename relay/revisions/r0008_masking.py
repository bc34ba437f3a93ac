"""Revision 0008, masking that is not led astray and gives nothing away. Frozen once released: never edit, add one.

A number is read as the digits it means: in full width, in the digits of Arabic, in ``\\u`` escapes of JSON that stands
as a text in JSON (in any depth), with spaces, dashes or signs of no width between its groups. Where that shows
something to mask, the text as read is what is shown.

Who may set ``debug_print_plan`` gets the plans of what a function asks, with the values in it as constants, and the
server's log gets them too, or its auto_explain does. So no function here asks anything: there are expressions only,
which have no plan of their own. A function that called itself would be none of that (PostgreSQL plans an expression
anew that is being worked out already), so what is nested is walked through without: a content as the pieces between
its quotes, and a pointer level by level. The settings are off inside of ``mask_content`` all the same.

A number that would fill pages (``1e131071`` is 10 bytes of JSON, and 131,072 digits in jsonb) is not converted: 1,900
of them in one content took an auditor's server 3 GB.
"""

from __future__ import annotations

from relay.revisions.r0004_masking import UPGRADE as BEFORE


def _before(name: str) -> str:
    (text,) = (statement for statement in BEFORE if f"create function {{schema}}.{name}(" in statement)
    return text.replace("create function", "create or replace function")


def _chars(*codes: int) -> str:
    return " || ".join(f"chr({code})" for code in codes)


_ASCII_DIGITS = "0123456789"
# What is read as what: digits in full width, of Arabic and of Persian; signs; a cross that ends an identity card.
_READ_AS = {
    _ASCII_DIGITS * 3: (*range(0xFF10, 0xFF1A), *range(0x0660, 0x066A), *range(0x06F0, 0x06FA)),
    "+@.()XX": (0xFF0B, 0xFF20, 0xFF0E, 0xFF08, 0xFF09, 0xFF38, 0xFF58),
    "-" * 9: (0xFF0D, 0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212, 0xFE63),
    " " * 15: (0x00A0, 0x3000, 0x202F, 0x205F, *range(0x2000, 0x200B)),
    "": (0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD),
}
_TO = "".join(_READ_AS)
_FROM = " || ".join(_chars(*codes) for codes in _READ_AS.values())
# Worth it where such a digit or at sign is, or where another of them stands at a digit: most texts have none.
_WORTH = (
    r"'[\uff10-\uff19\uff20\u0660-\u0669\u06f0-\u06f9]"
    r"|[0-9][\uff0b\uff0d\uff0e\uff08\uff09\uff38\uff58\u2010-\u2015\u2212\ufe63\u00a0\u00ad\u3000\u2000-\u200d\u202f"
    r"\u205f\u2060\ufeff]|[\uff0b\uff08][0-9]'"
)
_GAP = "[ -]{0,2}"
_DATE = "(?:[0][1-9]|1[0-2])(?:[0][1-9]|[12][0-9]|3[01])"
# First the identity card, whose birth date must be one (an order number of 18 digits rarely is), or one of 15 digits,
# which begins with a province; then mobile numbers, landlines with their area code, with a country code and without.
# (Each group that does not count begins with a class: a colon before a digit would be a parameter on the way there.)
# A dot between groups has to be between all of them: 1380013.8000 is a price.
_CARD = (
    f"(?<![0-9])([1-9][0-9]{{2}})[0-9]{{3}}{_GAP}(?:[1]8|19|20)[0-9]{{2}}{_DATE}{_GAP}[0-9]{{2}}([0-9][0-9Xx])(?![0-9])"
)
_OLD_CARD = (
    "(?<![0-9])((?:[1][1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])[0-9])[0-9]{5}"
    f"{_DATE}[0-9]([0-9]{{2}})(?![0-9])"
)
_MOBILE = (
    f"(?<![0-9])((?:(?:\\+|00)?86{_GAP})?\\(?1[3-9][0-9]\\)?)"
    f"(?:{_GAP}[0-9]{{4}}{_GAP}|\\.[0-9]{{4}}\\.)([0-9]{{4}})(?![0-9])"
)
_LANDLINE = f"(?<![0-9])(\\(?0[1-9][0-9]{{1,2}}\\)?{_GAP})[0-9]{{3,4}}{_GAP}([0-9]{{4}})(?![0-9])"
_LANDLINE_ABROAD = (
    f"(?<![0-9])((?:\\+|00)86{_GAP}\\(?[1-9][0-9]{{1,2}}\\)?{_GAP})[0-9]{{3,4}}{_GAP}([0-9]{{4}})(?![0-9])"
)
_MAIL = "([A-Za-z0-9])[A-Za-z0-9._+-]*@([A-Za-z0-9-]+(?:\\.[A-Za-z0-9-]+)+)"
# Letters of any script, but no punctuation of any.
_LETTER = "\\u00a1-\\u1fff\\u2070-\\u2fff\\u3040-\\ufeff"
_MAIL_ANYWHERE = (
    f"([A-Za-z0-9{_LETTER}])[A-Za-z0-9._+{_LETTER}-]*@([A-Za-z0-9{_LETTER}-]+(?:\\.[A-Za-z0-9{_LETTER}-]+)+)"
)

_MASK_TEXT = r"""
    create or replace function {schema}.mask_text(said text) returns text
        language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $body$
    declare
        plain text := said;
        masked text;
        wide boolean := getdatabaseencoding() = 'UTF8' and octet_length(said) > length(said);
    begin
        if position('\u' in plain) > 0 then
            plain := regexp_replace(plain, '\\+u(?:[0]03|[fF][fF]1|066|06[fF])([0-9])', '\1', 'g');
            plain := regexp_replace(plain, '\\+u(?:[0]040|[fF][fF]20)', '@', 'g');
            plain := regexp_replace(plain, '\\+u(?:[0]02|[fF][fF]0)[bB]', '+', 'g');
            plain := regexp_replace(plain, '\\+u(?:[0]02[dD]|201[0-5]|2212|[fF][fF]0[dD])', '-', 'g');
            plain := regexp_replace(plain, '\\+u(?:[0]020|00[aA]0|3000|200[0-9aA]|202[fF])', ' ', 'g');
            plain := regexp_replace(plain, '\\+u(?:[2]00[b-dB-D]|2060|[fF][eE][fF][fF]|00[aA][dD])', '', 'g');
        end if;
        if wide then
            if plain ~ WORTH then
                plain := translate(plain, FROM, 'TO');
            end if;
        end if;
        masked := plain;
        if masked ~ '[0-9]{4}' then
            masked := regexp_replace(masked, 'CARD', '\1*************\2', 'g');
            masked := regexp_replace(masked, 'CARD_OF_OLD', '\1**********\2', 'g');
            masked := regexp_replace(masked, 'MOBILE', '\1****\2', 'g');
            masked := regexp_replace(masked, 'LANDLINE', '\1****\2', 'g');
            masked := regexp_replace(masked, 'ABROAD', '\1****\2', 'g');
        end if;
        if position('@' in masked) > 0 then
            if wide then
                masked := regexp_replace(masked, 'MAIL_ANYWHERE', '\1***@\2', 'g');
            else
                masked := regexp_replace(masked, 'MAIL', '\1***@\2', 'g');
            end if;
        end if;
        return case when masked = plain then said else masked end;
    end
    $body$
    """
for _place, _said in (
    ("WORTH", _WORTH),
    ("FROM", _FROM),
    ("'TO'", f"'{_TO}'"),
    ("CARD_OF_OLD", _OLD_CARD),
    ("CARD", _CARD),
    ("MOBILE", _MOBILE),
    ("LANDLINE", _LANDLINE),
    ("ABROAD", _LANDLINE_ABROAD),
    ("MAIL_ANYWHERE", _MAIL_ANYWHERE),
    ("MAIL", _MAIL),
):
    _MASK_TEXT = _MASK_TEXT.replace(_place, _said)

# What is between two quotes is a string, what is not is the rest: once backslashes and quotes inside of strings are
# written as \\u escapes, which mean the same. Numbers stand between commas there.
_MASK_VALUE = r"""
    create or replace function {schema}.mask_value(value jsonb) returns jsonb language plpgsql immutable parallel safe
        set search_path = pg_catalog, {schema}, pg_temp set standard_conforming_strings = on as $body$
    declare
        parts text[] := string_to_array(
            replace(replace(cast(value as text), '\\', '\u005c'), '\"', '\u0022'), '"');
        numbers text[];
        part text;
        said text;
        masked text;
    begin
        for nth in 1 .. cardinality(parts) loop
            part := parts[nth];
            if octet_length(part) < 5 then
                continue;
            elsif nth % 2 = 1 then
                if octet_length(part) < 11 or mask_text(part) = part then
                    continue;
                end if;
                numbers := string_to_array(part, ',');
                for place in 1 .. cardinality(numbers) loop
                    said := substring(numbers[place] from '-?[0-9][0-9.eE+-]*');
                    masked := mask_text(said);
                    if masked <> said then
                        numbers[place] := replace(numbers[place], said, concat('"', masked, '"'));
                    end if;
                end loop;
                parts[nth] := array_to_string(numbers, ',');
            elsif position('\' in part) = 0 then
                parts[nth] := mask_text(part);
            else
                said := cast(concat('"', part, '"') as jsonb) #>> '{}';
                masked := mask_text(said);
                if masked <> said then
                    masked := cast(to_jsonb(masked) as text);
                    parts[nth] := substr(masked, 2, length(masked) - 2);
                end if;
            end if;
        end loop;
        return cast(array_to_string(parts, '"') as jsonb);
    end
    $body$
    """

# Down to what the last step names, a level for each *: the elements of every array that one names are the values of
# the level below. Then up again, each array anew from its elements.
_MASK_AT = r"""
    create or replace function {schema}.mask_at(value jsonb, path text[]) returns jsonb
        language plpgsql immutable parallel safe set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        hidden constant jsonb := '"***"';
        reached jsonb[] := array[value];  -- the values of all levels, one level after another
        below integer[] := '{}';  -- how many of the next level are of this one; -1: a member that is called *
        firsts integer[] := '{}';
        steps integer[] := '{}';  -- where in the path the steps of a level begin
        first integer := 1;
        last integer := 1;
        total integer := 1;
        step integer := 1;
        star integer;
        child integer;
        inside jsonb;
        elements text[];
    begin
        loop
            star := coalesce(array_position(path, '*', step), cardinality(path) + 1);
            firsts := firsts || first;
            steps := steps || step;
            exit when star > cardinality(path);
            for nth in first .. last loop
                inside := reached[nth] #> path[step : star - 1];
                below[nth] := 0;
                if jsonb_typeof(inside) = 'array' then
                    below[nth] := jsonb_array_length(inside);
                    for place in 1 .. below[nth] loop
                        reached[total + place] := inside -> (place - 1);
                    end loop;
                elsif jsonb_exists(inside, '*') and jsonb_typeof(inside) = 'object' then
                    below[nth] := -1;
                    reached[total + 1] := inside -> '*';
                end if;
                total := total + abs(below[nth]);
            end loop;
            first := last + 1;
            last := total;
            step := star + 1;
        end loop;
        for nth in first .. last loop
            if step > cardinality(path) then
                reached[nth] := hidden;
            elsif reached[nth] #> path[step:] is not null then
                reached[nth] := jsonb_set(reached[nth], path[step:], hidden);
            end if;
        end loop;
        for level in reverse cardinality(steps) - 1 .. 1 loop
            child := firsts[level + 1];
            star := steps[level + 1] - 1;
            for nth in firsts[level] .. firsts[level + 1] - 1 loop
                if below[nth] = -1 then
                    reached[nth] := jsonb_set(reached[nth], path[steps[level] : star], reached[child]);
                elsif below[nth] > 0 then
                    elements := '{}';
                    for place in 1 .. below[nth] loop
                        elements[place] := cast(reached[child + place - 1] as text);
                    end loop;
                    inside := cast(concat('[', array_to_string(elements, ','), ']') as jsonb);
                    reached[nth] := case when star = steps[level] then inside
                        else jsonb_set(reached[nth], path[steps[level] : star - 1], inside) end;
                end if;
                child := child + abs(below[nth]);
            end loop;
        end loop;
        return reached[1];
    end
    $body$
    """

# A text that json takes and jsonb does not (half of a surrogate pair, U+0000) is hidden whole: one odd row must not
# make the view unreadable. Where there are no escapes, the text says at once that there is nothing to mask. Numbers are
# looked at outside of strings only where a look at the whole finds something: a hash may well have 4e123.
_MASK_CONTENT = r"""
    create or replace function {schema}.mask_content(content json, pointers text[]) returns jsonb
        language plpgsql immutable set search_path = pg_catalog, {schema}, pg_temp SETTINGS as $body$
    declare
        value jsonb;
        pointer text;
    begin
        if cast(content as text) ~ '[0-9][eE][+-]?[0-9]{3}'
            and regexp_replace(cast(content as text), '"([^"\\]|\\.)*"', '""', 'g') ~ '[0-9][eE][+-]?[0-9]{3}'
        then
            return '{"masked": "cannot be shown"}';
        end if;
        value := cast(content as jsonb);
        foreach pointer in array pointers loop
            value := mask_at(value, string_to_array(
                replace(replace(replace(substr(pointer, 2), '/', chr(1)), '~1', '/'), '~0', '~'), chr(1)));
        end loop;
        if position('\' in cast(value as text)) = 0 and mask_text(cast(value as text)) = cast(value as text) then
            return value;
        end if;
        return mask_value(value);
    exception when others then
        return '{"masked": "cannot be shown"}';
    end
    $body$
    """
_SETTINGS = ("debug_print_plan", "debug_print_parse", "debug_print_rewritten")

UPGRADE: tuple[str, ...] = (
    _MASK_TEXT,
    _MASK_VALUE,
    _MASK_AT,
    _MASK_CONTENT.replace("SETTINGS", " ".join(f"set {name} = off" for name in _SETTINGS)),
)

DOWNGRADE: tuple[str, ...] = tuple(_before(name) for name in ("mask_content", "mask_at", "mask_value", "mask_text"))
