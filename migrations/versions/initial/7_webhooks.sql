-- Secrets, messages, digests and receivers of webhooks; the triggers that write messages.

CREATE TABLE webhook_secrets (
    owner uuid NOT NULL,
    version integer NOT NULL,
    overlap_until timestamptz,
    CONSTRAINT pk_webhook_secrets PRIMARY KEY (owner),
    CONSTRAINT ck_webhook_secrets_the_first_needs_no_row
        CHECK (version > 1)
);

CREATE TABLE deliveries (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid,
    url text NOT NULL,
    host text GENERATED ALWAYS AS (lower("substring"(url, '://([^/?#]+)'))) STORED NOT NULL,
    type text NOT NULL,
    payload text NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    tries integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    give_up_at timestamptz,
    last_status smallint,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT pk_deliveries PRIMARY KEY (id),
    CONSTRAINT fk_deliveries_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT ck_deliveries_given_up_says_why
        CHECK (state <> 'given_up' OR last_error IS NOT NULL),
    CONSTRAINT ck_deliveries_state_is_known
        CHECK (state IN ('waiting', 'delivered', 'given_up')),
    CONSTRAINT ck_deliveries_tries_are_not_negative
        CHECK (tries >= 0),
    CONSTRAINT ck_deliveries_url_has_a_host
        CHECK (url ~ '^https?://[^/?#]+'),
    CONSTRAINT ck_deliveries_waiting_if_and_only_if_not_finished
        CHECK ((state = 'waiting') = (finished_at IS NULL))
);
CREATE INDEX ix_deliveries_due_by_owner ON deliveries (COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'), host, due_at)
    WHERE state = 'waiting';
CREATE INDEX ix_deliveries_finished_at ON deliveries (finished_at)
    WHERE finished_at IS NOT NULL;
CREATE INDEX ix_deliveries_give_up_at ON deliveries (give_up_at)
    WHERE state = 'waiting';
CREATE INDEX ix_deliveries_producer_id_id ON deliveries (producer_id, id);
CREATE INDEX ix_deliveries_undelivered ON deliveries (producer_id, id)
    WHERE state <> 'delivered';

CREATE TABLE digests (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    batch_id uuid NOT NULL,
    producer_id uuid,
    url text NOT NULL,
    job text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_digests PRIMARY KEY (id)
);
CREATE INDEX ix_digests_turns ON digests (COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'), batch_id, id);

CREATE TABLE receivers (
    owner uuid NOT NULL,
    host text NOT NULL,
    proven_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_receivers PRIMARY KEY (owner, host)
);
CREATE INDEX ix_receivers_proven_at ON receivers (proven_at);

CREATE FUNCTION announce(url text, kind text, data json, producer_id uuid) RETURNS uuid
    LANGUAGE sql
    AS $$
    INSERT INTO deliveries (producer_id, url, type, payload)
    VALUES (
        announce.producer_id, announce.url, announce.kind,
        json_build_object('type', announce.kind, 'timestamp', now(), 'data', announce.data)::text
    )
    RETURNING id
$$;

CREATE FUNCTION announce_batch() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM announce(
        NEW.webhook_url,
        'batch.finished',
        json_build_object(
            'id', NEW.id,
            'name', NEW.name,
            'counts', (
                SELECT json_object_agg(state, jobs)
                FROM (SELECT state, count(*) AS jobs FROM jobs WHERE batch_id = NEW.id GROUP BY state)
            ),
            'credits', (
                SELECT count(*) FROM attempts JOIN jobs ON jobs.id = attempts.job_id
                WHERE jobs.batch_id = NEW.id AND attempts.outcome = 'charged'
            ),
            'results_key', NEW.results_key,
            'created_at', NEW.created_at,
            'finished_at', (SELECT max(finished_at) FROM jobs WHERE batch_id = NEW.id)
        ),
        NEW.producer_id
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION announce_ingest() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM announce(
        batches.webhook_url,
        'ingest.failed',
        json_build_object(
            'batch_id', batches.id,
            'name', batches.name,
            'error', NEW.error,
            'records', NEW.records,
            'pictures', NEW.pictures,
            'jobs', NEW.jobs,
            'rejects', NEW.rejects,
            'duplicates', NEW.duplicates,
            'finished_at', NEW.finished_at
        ),
        batches.producer_id
    )
    FROM batches WHERE batches.id = NEW.batch_id AND batches.webhook_url IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE FUNCTION announce_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    its_data json := json_build_object(
        'id', NEW.id,
        'batch_id', NEW.batch_id,
        'external_id', NEW.external_id,
        'return_form', NEW.return_form,
        'state', NEW.state,
        'code', NEW.code,
        'message', NEW.message,
        'key', NEW.key,
        'sha256', encode(NEW.sha256, 'hex'),
        'media_type', NEW.media_type,
        'size_bytes', NEW.size_bytes,
        'width', NEW.width,
        'height', NEW.height,
        'credits', (SELECT count(*) FROM attempts WHERE job_id = NEW.id AND outcome = 'charged'),
        'created_at', NEW.created_at,
        'finished_at', NEW.finished_at
    );
BEGIN
    IF EXISTS (
        SELECT FROM batches WHERE batches.id = NEW.batch_id
        AND batches.webhook_jobs = 'digest' AND batches.webhook_url = NEW.webhook_url
    ) THEN
        INSERT INTO digests (batch_id, producer_id, url, job)
        VALUES (NEW.batch_id, NEW.producer_id, NEW.webhook_url, its_data::text);
        RETURN NULL;
    END IF;
    PERFORM announce(NEW.webhook_url, 'job.' || NEW.state, its_data, NEW.producer_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER announce_batch AFTER UPDATE OF results_key ON batches
    FOR EACH ROW
    WHEN (
        new.webhook_url IS NOT NULL AND old.results_key IS NULL AND new.results_key IS NOT NULL
        AND old.results_unwritten_at IS NULL
    )
    EXECUTE FUNCTION announce_batch();

CREATE TRIGGER announce_ingest AFTER UPDATE OF finished_at ON ingests
    FOR EACH ROW
    WHEN (old.finished_at IS NULL AND new.finished_at IS NOT NULL AND (new.error IS NOT NULL OR new.jobs = 0))
    EXECUTE FUNCTION announce_ingest();

CREATE TRIGGER announce_job AFTER UPDATE OF state ON jobs
    FOR EACH ROW
    WHEN (
        new.webhook_url IS NOT NULL AND new.state <> old.state
        AND new.state IN ('succeeded', 'failed', 'cancelled', 'held')
    )
    EXECUTE FUNCTION announce_job();
