select new.account, new.newest_id, not new.pending or paused.account is not null as left_alone
from (
    select account, max(id) as newest_id, bool_or(status = 'pending') as pending
    from (
        select id, account, status from relay.outbox
        where id > coalesce(cast($1 as bigint), (select max(id) from relay.outbox) - cast($2 as integer))
        order by id limit cast($2 as integer)) as message
    group by account) as new
left join lateral (
    select new.account from relay.pause
    where new.pending and scope = 'account:' || new.account and (until is null or until > now()) limit 1) as paused
    on true
