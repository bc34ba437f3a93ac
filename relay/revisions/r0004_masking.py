"""Revision 0004, masking: what a person's data becomes before anybody reads it in a view. Frozen.

Two rules, both applied: phone numbers, e-mail addresses and Chinese identity cards are recognised by their form,
wherever they stand; what JSON pointers in ``relay.mask`` point to is hidden whole. The functions depend on their
arguments alone and pin where they look names up: a caller's own function of the same name sees nothing.
"""

from __future__ import annotations

UPGRADE = (
    r"""
    create table {schema}.mask (
        topic text not null,
        pointer text not null,
        constraint mask_pkey primary key (topic, pointer),
        constraint mask_pointer_begins_with_slash check (pointer ~ '^(/|$)')
    )
    """,
    # First the identity card, whose birth date must be one (an order number of 18 digits rarely is), then mobile
    # numbers with or without +86, landlines with their area code, e-mail addresses.
    r"""
    create function {schema}.mask_text(said text) returns text language plpgsql immutable strict parallel safe
        set search_path = pg_catalog, pg_temp as $body$
    begin
        said := regexp_replace(said,
            '(?<![0-9])([1-9][0-9]{2})[0-9]{3}(18|19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[0-9]{2}'
            || '([0-9][0-9Xx])(?![0-9])', '\1*************\5', 'g');
        said := regexp_replace(said,
            '(?<![0-9])((\+?86[ -]?)?1[3-9][0-9])[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9])', '\1****\3', 'g');
        said := regexp_replace(said, '(?<![0-9])(0[0-9]{2,3}-)[0-9]{3,4}([0-9]{4})(?![0-9])', '\1****\2', 'g');
        return regexp_replace(said,
            '([A-Za-z0-9])[A-Za-z0-9._+-]*@([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)', '\1***@\2', 'g');
    end
    $body$
    """,
    r"""
    create function {schema}.mask_value(value jsonb) returns jsonb language plpgsql immutable parallel safe
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        said text := value #>> '{}';
    begin
        case jsonb_typeof(value)
            when 'object' then
                return (select coalesce(jsonb_object_agg(mask_text(name), mask_value(member)), '{}')
                        from jsonb_each(value) as members (name, member));
            when 'array' then
                return (select coalesce(jsonb_agg(mask_value(item) order by nth), '[]')
                        from jsonb_array_elements(value) with ordinality as items (item, nth));
            when 'string', 'number' then
                return case when mask_text(said) = said then value else to_jsonb(mask_text(said)) end;
            else
                return value;
        end case;
    end
    $body$
    """,
    # A step of a path is a key, a position counted from 0, or * for every element of an array.
    r"""
    create function {schema}.mask_at(value jsonb, path text[]) returns jsonb language plpgsql immutable parallel safe
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if cardinality(path) = 0 then
            return '"***"';
        elsif jsonb_typeof(value) = 'array' and path[1] = '*' then
            return (select coalesce(jsonb_agg(mask_at(item, path[2:]) order by nth), '[]')
                    from jsonb_array_elements(value) with ordinality as items (item, nth));
        elsif value #> path[1:1] is null then
            return value;
        end if;
        return jsonb_set(value, path[1:1], mask_at(value #> path[1:1], path[2:]));
    end
    $body$
    """,
    # A text that json takes and jsonb does not (half of a surrogate pair, U+0000) is hidden whole: one odd row must
    # not make the view unreadable. Where there are no escapes, the text says at once that there is nothing to mask.
    r"""
    create function {schema}.mask_content(content json, pointers text[]) returns jsonb language plpgsql immutable
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        value jsonb;
        pointer text;
    begin
        value := cast(content as jsonb);
        foreach pointer in array pointers loop
            value := mask_at(value, array(
                select replace(replace(step, '~1', '/'), '~0', '~')
                from unnest(string_to_array(substr(pointer, 2), '/')) with ordinality as steps (step, nth)
                order by nth));
        end loop;
        if position('\' in cast(value as text)) = 0 and mask_text(cast(value as text)) = cast(value as text) then
            return value;
        end if;
        return mask_value(value);
    exception when others then
        return '{"masked": "cannot be shown"}';
    end
    $body$
    """,
)

DOWNGRADE = (
    "drop function {schema}.mask_content(json, text[])",
    "drop function {schema}.mask_at(jsonb, text[])",
    "drop function {schema}.mask_value(jsonb)",
    "drop function {schema}.mask_text(text)",
    "drop table {schema}.mask",
)
