CREATE OR REPLACE FUNCTION relay.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if tg_argv[0] = 'redactable' and current_setting('relay.redacting', true) = 'on' then
        return new;
    end if;
    raise exception using
        errcode = 'restrict_violation',
        message = 'what was inserted into ' || tg_table_schema || '.' || tg_table_name || ' stays as it is',
        hint = 'Insert a new message instead. A content is removed with: relay redact';
end
$function$;

CREATE TRIGGER action_is_append_only BEFORE UPDATE ON relay.action FOR EACH ROW WHEN ((NOT (COALESCE(current_setting('relay.salting'::text, true), ''::text) = 'on'::text))) EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER attempt_is_append_only BEFORE UPDATE ON relay.attempt FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER attempt_archive_is_append_only BEFORE UPDATE ON relay.attempt_archive FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER call_settled_is_final BEFORE UPDATE ON relay.call FOR EACH ROW WHEN ((old.settled_at IS NOT NULL)) EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER call_archive_is_append_only BEFORE UPDATE ON relay.call_archive FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER outbox_evidence_stays BEFORE UPDATE OF content_sha256, content_salt ON relay.outbox FOR EACH ROW WHEN ((NOT ((COALESCE(current_setting('relay.salting'::text, true), ''::text) = 'on'::text) OR ((COALESCE(current_setting('relay.redacting'::text, true), ''::text) = 'on'::text) AND (new.content_sha256 = old.content_sha256) AND (new.content_salt = '\x'::bytea))))) EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER outbox_facts_stay BEFORE UPDATE OF id, topic, account, target_group, target_app_key, ordering_key, dedupe_key, producer, created_at, created_by, created_xid ON relay.outbox FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER outbox_texts_stay BEFORE UPDATE OF content, json_ex_content, headers ON relay.outbox FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('redactable');
CREATE TRIGGER outbox_archive_evidence_stays BEFORE UPDATE OF content_sha256, content_salt ON relay.outbox_archive FOR EACH ROW WHEN ((NOT ((COALESCE(current_setting('relay.salting'::text, true), ''::text) = 'on'::text) OR ((COALESCE(current_setting('relay.redacting'::text, true), ''::text) = 'on'::text) AND (new.content_sha256 = old.content_sha256) AND (new.content_salt = '\x'::bytea))))) EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER outbox_archive_facts_stay BEFORE UPDATE OF id, topic, account, target_group, target_app_key, ordering_key, dedupe_key, available_at, deliver_before, producer, status, attempts, call_id, result_index, error_code, error_message, created_at, finished_at, created_by, created_xid ON relay.outbox_archive FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('fixed');
CREATE TRIGGER outbox_archive_texts_stay BEFORE UPDATE OF content, json_ex_content, headers ON relay.outbox_archive FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('redactable');
CREATE TRIGGER pause_past_is_append_only BEFORE UPDATE ON relay.pause_past FOR EACH ROW EXECUTE FUNCTION relay.refuse_change('fixed');
