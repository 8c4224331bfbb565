-- Webhook endpoints, and the functions that write messages about events to them.

CREATE TABLE webhook_endpoints (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    description text,
    disabled_at timestamptz,
    disabled_reason text,
    failing_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_webhook_endpoints PRIMARY KEY (id),
    CONSTRAINT fk_webhook_endpoints_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT ck_webhook_endpoints_disabled_reason_is_known
        CHECK (disabled_reason IN ('by_producer', 'gone', 'failing')),
    CONSTRAINT ck_webhook_endpoints_disabled_says_why
        CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT ck_webhook_endpoints_events_are_not_empty
        CHECK (cardinality(events) > 0),
    CONSTRAINT ck_webhook_endpoints_url_has_a_host
        CHECK (url ~ '^https?://[^/?#]+')
);
CREATE INDEX ix_webhook_endpoints_failing_since ON webhook_endpoints (failing_since)
    WHERE failing_since IS NOT NULL AND disabled_at IS NULL;
CREATE INDEX ix_webhook_endpoints_producer_id_id ON webhook_endpoints (producer_id, id);

-- An asterisk is every event but those about single jobs, which are named one by one.
CREATE FUNCTION wants_event(events text[], kind text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT kind = ANY(events) OR '*' = ANY(events) AND NOT starts_with(kind, 'job.')
$$;

-- A message to `url`, unless it is null, and one to each of the producer's endpoints that want it.
CREATE FUNCTION announce_event(url text, kind text, data json, producer_id uuid) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO deliveries (producer_id, endpoint_id, url, type, payload)
    SELECT
        announce_event.producer_id, receiver.endpoint_id, receiver.url, announce_event.kind,
        json_build_object('type', announce_event.kind, 'timestamp', now(), 'data', announce_event.data)::text
    FROM (
        SELECT NULL::uuid AS endpoint_id, announce_event.url AS url WHERE announce_event.url IS NOT NULL
        UNION ALL
        SELECT endpoint.id, endpoint.url FROM webhook_endpoints endpoint
        WHERE endpoint.producer_id = announce_event.producer_id AND endpoint.disabled_at IS NULL
            AND wants_event(endpoint.events, announce_event.kind)
    ) receiver
$$;

CREATE FUNCTION has_endpoint(producer_id uuid, kind text) RETURNS boolean
    LANGUAGE sql
    AS $$
    SELECT EXISTS (
        SELECT FROM webhook_endpoints endpoint
        WHERE endpoint.producer_id = has_endpoint.producer_id AND endpoint.disabled_at IS NULL
            AND wants_event(endpoint.events, has_endpoint.kind)
    )
$$;

CREATE FUNCTION message_of(job jobs) RETURNS json
    LANGUAGE sql
    AS $$
    SELECT json_build_object(
        'id', job.id,
        'batch_id', job.batch_id,
        'external_id', job.external_id,
        'metadata', coalesce(job.metadata, '{}'),
        'return_form', job.return_form,
        'state', job.state,
        'code', job.code,
        'message', job.message,
        'key', job.key,
        'sha256', encode(job.sha256, 'hex'),
        'media_type', job.media_type,
        'size_bytes', job.size_bytes,
        'width', job.width,
        'height', job.height,
        'credits', (SELECT count(*) FROM attempts WHERE job_id = job.id AND outcome = 'charged'),
        'created_at', job.created_at,
        'finished_at', job.finished_at
    )
$$;

-- A job's data as an entry of a digest: with the type that its own message would have as the first member.
CREATE FUNCTION digest_entry(kind text, data json) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    SELECT '{"type" : ' || to_json(kind)::text || ', ' || substr(data::text, 2)
$$;

-- The enabled endpoints of the producer that want the event; null if there is none.
CREATE FUNCTION endpoints_for(producer_id uuid, kind text) RETURNS uuid[]
    LANGUAGE sql
    AS $$
    SELECT array_agg(endpoint.id) FROM webhook_endpoints endpoint
    WHERE endpoint.producer_id = endpoints_for.producer_id AND endpoint.disabled_at IS NULL
        AND wants_event(endpoint.events, endpoints_for.kind)
$$;

-- Jobs of a batch are collected in digests, others have a message at once. One row for all endpoints: their
-- filters are those of this moment, their addresses those of the moment when the digest is announced.
CREATE FUNCTION announce_job_event(job jobs, kind text, data json) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF job.batch_id IS NULL THEN
        PERFORM announce_event(NULL, kind, data, job.producer_id);
        RETURN;
    END IF;
    INSERT INTO digests (batch_id, producer_id, endpoint_ids, job)
    SELECT job.batch_id, job.producer_id, found.ids, digest_entry(kind, data)
    FROM endpoints_for(job.producer_id, kind) AS found (ids)
    WHERE found.ids IS NOT NULL;
END
$$;
