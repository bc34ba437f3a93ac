create view relay.audit_backlog with (security_barrier=true) as
 SELECT account,
    count(*) AS pending,
    count(*) FILTER (WHERE (available_at <= now())) AS due,
    count(*) FILTER (WHERE ((available_at > now()) AND (available_at < 'infinity'::timestamp with time zone))) AS waiting,
    count(*) FILTER (WHERE (available_at = 'infinity'::timestamp with time zone)) AS held,
    round(EXTRACT(epoch FROM (now() - min(GREATEST(available_at, created_at)) FILTER (WHERE (available_at <= now())))), 3) AS oldest_due_seconds,
    round(EXTRACT(epoch FROM (now() - min(created_at))), 3) AS oldest_seconds
   FROM ( SELECT outbox.account,
            outbox.available_at,
            outbox.created_at
           FROM relay.outbox
          WHERE ((outbox.status = 'pending'::text) AND (outbox.ordering_key IS NULL))
        UNION ALL
         SELECT outbox.account,
            outbox.available_at,
            outbox.created_at
           FROM relay.outbox
          WHERE ((outbox.status = 'pending'::text) AND (outbox.ordering_key IS NOT NULL))) pending
  GROUP BY account;

comment on view relay.audit_backlog is 'What is pending, by account / 各账户的待发送情况';
