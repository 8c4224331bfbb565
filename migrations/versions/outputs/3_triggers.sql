-- Triggers: a job that succeeds gets its outputs, and their end is notified.

-- A picture that was sent as it is has the size of its source: its RGBA form is what was bought. So has one of
-- which it is not known what was sent, since it could not be enlarged.
-- A rendition that is named like the return form takes the place of that form: a JPEG by `whiteBK format=jpeg`.
CREATE FUNCTION add_outputs(job jobs) RETURNS void
    LANGUAGE sql
    AS $$
    WITH asked AS (
        SELECT key AS name, value ->> 'recipe' AS recipe, value ->> 'file' AS file FROM jsonb_each(
            coalesce((SELECT renditions FROM batches WHERE batches.id = job.batch_id), '{}')
            || coalesce(job.renditions, '{}')
        )
    )
    INSERT INTO outputs
        (job_id, name, producer_id, batch_id, priority, recipe, file, bought_sha256, source_sha256)
    SELECT job.id, wanted.name, job.producer_id, job.batch_id, job.priority + wanted.later, wanted.recipe, wanted.file,
        job.sha256, job.source_sha256
    FROM (
        -- A score is advice: it is made after all else.
        SELECT 'score' AS name, 'score' AS recipe, NULL AS file, 10 AS later WHERE NOT job.reused
        UNION ALL
        SELECT job.return_form,
            job.return_form || CASE WHEN job.full_size THEN '' ELSE ' resolution=sent' END, NULL, 0
        WHERE NOT EXISTS (SELECT FROM asked WHERE asked.name = job.return_form)
            AND (
                job.return_form <> 'rgba' OR job.full_size AND coalesce(
                    CASE WHEN job.reused THEN (
                        SELECT bool_or(bought_results.image_sha256 <> bought_results.source_sha256)
                        FROM bought_results
                        WHERE bought_results.source_sha256 = job.source_sha256 AND bought_results.sha256 = job.sha256
                    ) ELSE (
                        SELECT attempts.image_sha256 <> attempts.source_sha256
                        FROM attempts WHERE attempts.id = job.result_attempt
                    ) END,
                    false
                )
            )
        UNION ALL
        SELECT name, recipe, file, 0 FROM asked
    ) AS wanted
    ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION want_outputs() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM add_outputs(NEW);
    RETURN NULL;
END
$$;

CREATE TRIGGER want_outputs AFTER UPDATE OF state ON jobs
    FOR EACH ROW
    WHEN (
        new.state = 'succeeded' AND old.state <> 'succeeded' AND new.bought_form = 'rgba'
        AND new.sha256 IS NOT NULL
    )
    EXECUTE FUNCTION want_outputs();

CREATE FUNCTION announce_outputs() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM outputs
        WHERE outputs.job_id = NEW.job_id AND outputs.state = 'waiting' AND outputs.name <> 'score'
    ) THEN
        RETURN NULL;
    END IF;
    PERFORM announce(
        jobs.webhook_url,
        'job.rendered',
        json_build_object(
            'id', jobs.id,
            'batch_id', jobs.batch_id,
            'external_id', jobs.external_id,
            'return_form', jobs.return_form,
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
                FROM outputs WHERE outputs.job_id = jobs.id AND outputs.name <> 'score'
            )
        ),
        jobs.producer_id
    )
    FROM jobs WHERE jobs.id = NEW.job_id AND jobs.webhook_url IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE FUNCTION announce_rendered_batch() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- A batch with nothing but scores has nothing to fetch.
    IF NOT EXISTS (SELECT FROM outputs WHERE batch_id = NEW.id AND name <> 'score') THEN
        RETURN NULL;
    END IF;
    PERFORM announce(
        NEW.webhook_url,
        'batch.rendered',
        json_build_object(
            'id', NEW.id,
            'name', NEW.name,
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

-- Its results have all outputs: they were written again after the last one, or for the first time after it.
CREATE TRIGGER announce_rendered_batch AFTER UPDATE OF results_key, outputs_pending ON batches
    FOR EACH ROW
    WHEN (
        new.webhook_url IS NOT NULL AND new.results_key IS NOT NULL AND NOT new.outputs_pending
        AND (old.outputs_pending OR old.results_key IS NULL AND old.results_unwritten_at IS NULL)
    )
    EXECUTE FUNCTION announce_rendered_batch();

CREATE TRIGGER announce_outputs AFTER UPDATE OF state ON outputs
    FOR EACH ROW
    WHEN (old.state = 'waiting' AND new.state <> 'waiting' AND new.name <> 'score')
    EXECUTE FUNCTION announce_outputs();
