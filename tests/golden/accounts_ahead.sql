with recursive
turn (nth, account) as (
    select 0, cast($1 as text)
    union all
    select turn.nth + 1, least(
        (select o.account from relay.outbox o
         where o.status = 'pending' and o.ordering_key is null and o.account > turn.account
         order by o.account limit 1),
        (select o.account from relay.outbox o
         where o.status = 'pending' and o.ordering_key is not null and o.account > turn.account
         order by o.account limit 1))
    from turn
    where turn.account is not null and turn.nth <= cast($2 as integer)
),
ahead as (select * from turn where account is not null and nth > 0)
select turn.account, paused.account is not null or turn.account in (select unnest(cast($3 as text[])))
    as left_alone
from ahead turn
left join lateral (
    select turn.account from relay.pause
    where scope = 'account:' || turn.account and (until is null or until > now()) limit 1) as paused on true
order by turn.nth
