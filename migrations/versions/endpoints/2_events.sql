-- Events of jobs, outputs, batches and ingests: to the webhook of each, and to endpoints.

-- Whether the job's own webhook is its batch's, which asks for digests.
CREATE FUNCTION has_digest(job jobs) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (
        SELECT FROM batches WHERE batches.id = job.batch_id
        AND batches.webhook_jobs = 'digest' AND batches.webhook_url = job.webhook_url
    )
$$;

CREATE OR REPLACE FUNCTION announce_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    kind text := 'job.' || NEW.state;
    its_data json := message_of(NEW);
BEGIN
    IF has_digest(NEW) THEN
        INSERT INTO digests (batch_id, producer_id, url, endpoint_ids, job)
        VALUES (
            NEW.batch_id, NEW.producer_id, NEW.webhook_url, endpoints_for(NEW.producer_id, kind),
            digest_entry(kind, its_data)
        );
        RETURN NULL;
    END IF;
    PERFORM announce(NEW.webhook_url, kind, its_data, NEW.producer_id);
    RETURN NULL;
END
$$;

-- Called for each job that ends: a producer without endpoints pays for one look into an index, so the question
-- stands here and not in a function of its own. A job with a digest is in it for its endpoints as well.
CREATE FUNCTION announce_job_to_endpoints() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM webhook_endpoints endpoint
        WHERE endpoint.producer_id = NEW.producer_id AND endpoint.disabled_at IS NULL
            AND 'job.' || NEW.state = ANY(endpoint.events)
    ) AND (NEW.webhook_url IS NULL OR NOT has_digest(NEW)) THEN
        PERFORM announce_job_event(NEW, 'job.' || NEW.state, message_of(NEW));
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION announce_outputs() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    job jobs;
    told boolean;
    its_data json;
BEGIN
    IF EXISTS (
        SELECT FROM outputs
        WHERE outputs.job_id = NEW.job_id AND outputs.state = 'waiting' AND outputs.name <> 'score'
    ) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO job FROM jobs WHERE jobs.id = NEW.job_id;
    told := EXISTS (
        SELECT FROM webhook_endpoints endpoint
        WHERE endpoint.producer_id = job.producer_id AND endpoint.disabled_at IS NULL
            AND 'job.rendered' = ANY(endpoint.events)
    );
    IF job.webhook_url IS NULL AND NOT told THEN
        RETURN NULL;
    END IF;
    its_data := json_build_object(
        'id', job.id,
        'batch_id', job.batch_id,
        'external_id', job.external_id,
        'metadata', coalesce(job.metadata, '{}'),
        'return_form', job.return_form,
        'outputs', (
            SELECT json_agg(json_build_object(
                'name', outputs.name,
                'state', outputs.state,
                'key', outputs.key,
                'sha256', encode(outputs.sha256, 'hex'),
                'media_type', outputs.media_type,
                'size_bytes', outputs.size_bytes,
                'width', outputs.width,
                'height', outputs.height,
                'problems', outputs.problems,
                'code', outputs.code,
                'message', outputs.message
            ) ORDER BY outputs.name)
            FROM outputs WHERE outputs.job_id = job.id AND outputs.name <> 'score'
        )
    );
    IF job.webhook_url IS NOT NULL THEN
        PERFORM announce(job.webhook_url, 'job.rendered', its_data, job.producer_id);
    END IF;
    IF told THEN
        PERFORM announce_job_event(job, 'job.rendered', its_data);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION announce_batch() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.webhook_url IS NULL AND NOT has_endpoint(NEW.producer_id, 'batch.finished') THEN
        RETURN NULL;
    END IF;
    PERFORM announce_event(
        NEW.webhook_url,
        'batch.finished',
        json_build_object(
            'id', NEW.id,
            'name', NEW.name,
            'metadata', coalesce(NEW.metadata, '{}'),
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

CREATE OR REPLACE FUNCTION announce_ingest() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM announce_event(
        batches.webhook_url,
        'ingest.failed',
        json_build_object(
            'batch_id', batches.id,
            'name', batches.name,
            'metadata', coalesce(batches.metadata, '{}'),
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
    FROM batches WHERE batches.id = NEW.batch_id;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION announce_rendered_batch() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.webhook_url IS NULL AND NOT has_endpoint(NEW.producer_id, 'batch.rendered') THEN
        RETURN NULL;
    END IF;
    -- A batch with nothing but scores has nothing to fetch.
    IF NOT EXISTS (SELECT FROM outputs WHERE batch_id = NEW.id AND name <> 'score') THEN
        RETURN NULL;
    END IF;
    PERFORM announce_event(
        NEW.webhook_url,
        'batch.rendered',
        json_build_object(
            'id', NEW.id,
            'name', NEW.name,
            'metadata', coalesce(NEW.metadata, '{}'),
            'outputs', (
                SELECT json_build_object(
                    'waiting', count(*) FILTER (WHERE state = 'waiting'),
                    'made', count(*) FILTER (WHERE state = 'made'),
                    'failed', count(*) FILTER (WHERE state = 'failed')
                )
                FROM outputs WHERE batch_id = NEW.id AND name <> 'score'
            ),
            'results_key', NEW.results_key
        ),
        NEW.producer_id
    );
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER announce_batch AFTER UPDATE OF results_key ON batches
    FOR EACH ROW
    WHEN (
        (new.webhook_url IS NOT NULL OR new.producer_id IS NOT NULL)
        AND old.results_key IS NULL AND new.results_key IS NOT NULL AND old.results_unwritten_at IS NULL
    )
    EXECUTE FUNCTION announce_batch();

CREATE OR REPLACE TRIGGER announce_rendered_batch AFTER UPDATE OF results_key, outputs_pending ON batches
    FOR EACH ROW
    WHEN (
        (new.webhook_url IS NOT NULL OR new.producer_id IS NOT NULL)
        AND new.results_key IS NOT NULL AND NOT new.outputs_pending
        AND (old.outputs_pending OR old.results_key IS NULL AND old.results_unwritten_at IS NULL)
    )
    EXECUTE FUNCTION announce_rendered_batch();

CREATE TRIGGER announce_job_to_endpoints AFTER UPDATE OF state ON jobs
    FOR EACH ROW
    WHEN (
        new.producer_id IS NOT NULL AND new.state <> old.state
        AND new.state IN ('succeeded', 'failed', 'cancelled', 'held')
    )
    EXECUTE FUNCTION announce_job_to_endpoints();
