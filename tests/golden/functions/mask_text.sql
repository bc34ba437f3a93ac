CREATE OR REPLACE FUNCTION relay.mask_text(said text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
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
        if plain ~ '[\uff10-\uff19\uff20\u0660-\u0669\u06f0-\u06f9]|[0-9][\uff0b\uff0d\uff0e\uff08\uff09\uff38\uff58\u2010-\u2015\u2212\ufe63\u00a0\u00ad\u3000\u2000-\u200d\u202f\u205f\u2060\ufeff]|[\uff0b\uff08][0-9]' then
            plain := translate(plain, chr(65296) || chr(65297) || chr(65298) || chr(65299) || chr(65300) || chr(65301) || chr(65302) || chr(65303) || chr(65304) || chr(65305) || chr(1632) || chr(1633) || chr(1634) || chr(1635) || chr(1636) || chr(1637) || chr(1638) || chr(1639) || chr(1640) || chr(1641) || chr(1776) || chr(1777) || chr(1778) || chr(1779) || chr(1780) || chr(1781) || chr(1782) || chr(1783) || chr(1784) || chr(1785) || chr(65291) || chr(65312) || chr(65294) || chr(65288) || chr(65289) || chr(65336) || chr(65368) || chr(65293) || chr(8208) || chr(8209) || chr(8210) || chr(8211) || chr(8212) || chr(8213) || chr(8722) || chr(65123) || chr(160) || chr(12288) || chr(8239) || chr(8287) || chr(8192) || chr(8193) || chr(8194) || chr(8195) || chr(8196) || chr(8197) || chr(8198) || chr(8199) || chr(8200) || chr(8201) || chr(8202) || chr(8203) || chr(8204) || chr(8205) || chr(8288) || chr(65279) || chr(173), '012345678901234567890123456789+@.()XX---------               ');
        end if;
    end if;
    masked := plain;
    if masked ~ '[0-9]{4}' then
        masked := regexp_replace(masked, '(?<![0-9])([1-9][0-9]{2})[0-9]{3}[ -]{0,2}(?:[1]8|19|20)[0-9]{2}(?:[0][1-9]|1[0-2])(?:[0][1-9]|[12][0-9]|3[01])[ -]{0,2}[0-9]{2}([0-9][0-9Xx])(?![0-9])', '\1*************\2', 'g');
        masked := regexp_replace(masked, '(?<![0-9])((?:[1][1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])[0-9])[0-9]{5}(?:[0][1-9]|1[0-2])(?:[0][1-9]|[12][0-9]|3[01])[0-9]([0-9]{2})(?![0-9])', '\1**********\2', 'g');
        masked := regexp_replace(masked, '(?<![0-9])((?:(?:\+|00)?86[ -]{0,2})?\(?1[3-9][0-9]\)?)(?:[ -]{0,2}[0-9]{4}[ -]{0,2}|\.[0-9]{4}\.)([0-9]{4})(?![0-9])', '\1****\2', 'g');
        masked := regexp_replace(masked, '(?<![0-9])(\(?0[1-9][0-9]{1,2}\)?[ -]{0,2})[0-9]{3,4}[ -]{0,2}([0-9]{4})(?![0-9])', '\1****\2', 'g');
        masked := regexp_replace(masked, '(?<![0-9])((?:\+|00)86[ -]{0,2}\(?[1-9][0-9]{1,2}\)?[ -]{0,2})[0-9]{3,4}[ -]{0,2}([0-9]{4})(?![0-9])', '\1****\2', 'g');
    end if;
    if position('@' in masked) > 0 then
        if wide then
            masked := regexp_replace(masked, '([A-Za-z0-9\u00a1-\u1fff\u2070-\u2fff\u3040-\ufeff])[A-Za-z0-9._+\u00a1-\u1fff\u2070-\u2fff\u3040-\ufeff-]*@([A-Za-z0-9\u00a1-\u1fff\u2070-\u2fff\u3040-\ufeff-]+(?:\.[A-Za-z0-9\u00a1-\u1fff\u2070-\u2fff\u3040-\ufeff-]+)+)', '\1***@\2', 'g');
        else
            masked := regexp_replace(masked, '([A-Za-z0-9])[A-Za-z0-9._+-]*@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)', '\1***@\2', 'g');
        end if;
    end if;
    return case when masked = plain then said else masked end;
end
$function$;
