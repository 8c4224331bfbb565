-- Events that only endpoints receive: of schedules, and of endpoints that were disabled.

CREATE FUNCTION announce_schedule_pause() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM announce_event(
        NULL,
        'schedule.paused',
        json_build_object(
            'schedule_id', NEW.id,
            'name', NEW.name,
            'paused_at', NEW.paused_at,
            'paused_by_operator_at', NEW.paused_by_operator_at
        ),
        NEW.producer_id
    );
    RETURN NULL;
END
$$;

-- One message for all runs that a statement skips: an outage may skip thousands.
CREATE FUNCTION announce_skipped_runs() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM announce_event(
        NULL,
        'schedule.skipped',
        json_build_object(
            'schedule_id', schedules.id,
            'name', schedules.name,
            'runs', skipped.runs,
            'first_fire_at', skipped.first_fire_at,
            'last_fire_at', skipped.last_fire_at,
            'note', skipped.note
        ),
        schedules.producer_id
    )
    FROM (
        SELECT
            schedule_id, count(*) AS runs, min(fire_at) AS first_fire_at, max(fire_at) AS last_fire_at,
            (array_agg(note ORDER BY fire_at DESC))[1] AS note
        -- A run that was skipped before has another time.
        FROM changed WHERE state = 'skipped' AND finished_at = now()
        GROUP BY schedule_id
    ) skipped
    JOIN schedules ON schedules.id = skipped.schedule_id
    WHERE schedules.producer_id IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE FUNCTION announce_disabled_endpoint() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM announce_event(
        NULL,
        'webhook.disabled',
        json_build_object(
            'endpoint_id', NEW.id,
            'host', lower(substring(NEW.url, '://([^/?#]+)')),
            'reason', NEW.disabled_reason,
            'failing_since', NEW.failing_since,
            'disabled_at', NEW.disabled_at
        ),
        NEW.producer_id
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER announce_schedule_pause AFTER UPDATE OF paused_at, paused_by_operator_at ON schedules
    FOR EACH ROW
    WHEN (
        new.producer_id IS NOT NULL
        AND (
            old.paused_at IS NULL AND new.paused_at IS NOT NULL
            OR old.paused_by_operator_at IS NULL AND new.paused_by_operator_at IS NOT NULL
        )
    )
    EXECUTE FUNCTION announce_schedule_pause();

CREATE TRIGGER announce_skipped_new_runs AFTER INSERT ON runs
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION announce_skipped_runs();

CREATE TRIGGER announce_skipped_runs AFTER UPDATE ON runs
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION announce_skipped_runs();

CREATE TRIGGER announce_disabled_endpoint AFTER UPDATE OF disabled_at ON webhook_endpoints
    FOR EACH ROW
    WHEN (old.disabled_at IS NULL AND new.disabled_at IS NOT NULL AND new.disabled_reason <> 'by_producer')
    EXECUTE FUNCTION announce_disabled_endpoint();
