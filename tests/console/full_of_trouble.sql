-- Trouble, calls and runs of each kind, for the jobs SKU-0000 to SKU-0039 of one batch and its producer.
UPDATE jobs SET external_id = :sku WHERE external_id = 'SKU-0001';

INSERT INTO accounts (name, paused_at, pause_code, pause_message, probe_at, credits, credits_at) VALUES
    ('8a1c00000000', now(), 'CREDITS_BELOW_RESERVE', 'few credits are left', now(), 18204, now()),
    ('9b2d00000000', NULL, NULL, NULL, NULL, 512, now());

INSERT INTO limits (account, level, top, open_calls, waiting, calls_per_second, latency_seconds, slow_at)
VALUES ('9b2d00000000', 14.6, 15, 12, 3, 14.1, 0.9, now());

INSERT INTO attempts (
    job_id, number, fence, worker_id, account, image_sha256, outcome, begun_at, ended_at, unknown_at, code, message
)
SELECT id, 1, 1, gen_random_uuid(), '9b2d00000000', 'x', outcome, at, at + interval '2 s',
    CASE WHEN outcome = 'unknown' THEN at + interval '2 s' END,
    CASE outcome WHEN 'unknown' THEN 'NO_ANSWER' WHEN 'not_charged' THEN 'HTTP_429' END,
    CASE outcome WHEN 'not_charged' THEN 'slow down' END
FROM jobs, LATERAL (
    SELECT CASE WHEN external_id < 'SKU-0003' THEN 'unknown' WHEN external_id < 'SKU-0006' THEN 'not_charged'
        ELSE 'charged' END AS outcome,
        now() - interval '1 minute' * (ascii(right(external_id, 1)) % 9)
            - interval '1 day' * CASE WHEN external_id > 'SKU-0020' THEN ascii(right(external_id, 1)) % 7 ELSE 0 END
            AS at
) made
WHERE external_id < 'SKU-0035';

UPDATE jobs SET state = 'held', queue_state = NULL, code = 'NO_ANSWER',
    message = 'the connection broke after the picture was sent'
WHERE external_id < 'SKU-0003';

UPDATE jobs SET state = 'held', queue_state = NULL, code = 'PICTURE_KILLS_WORKER', message = '3 workers died with it',
    step = 'copy', result_url = 'https://results.example/x', result_expires_at = now() + interval '2 hours'
WHERE external_id = 'SKU-0007';

UPDATE jobs SET step = 'copy', result_url = 'https://results.example/y',
    result_expires_at = now() + interval '112 minutes'
WHERE external_id = 'SKU-0008';

UPDATE batches SET budget = 10, spent = 10 WHERE id = :batch;

INSERT INTO deliveries (producer_id, url, type, payload, state, last_error, finished_at, tries)
SELECT :producer, 'https://hooks.example/secret-path', 'job.ended', '{}', 'given_up', 'the server answered 500', now(), 9
FROM generate_series(1, 3);

INSERT INTO breaker (kind, opened_at, reason, probe_at) VALUES ('bucket', now(), 'access denied', now())
ON CONFLICT (kind) DO UPDATE SET opened_at = now(), reason = 'access denied', probe_at = now();

INSERT INTO credit_readings (account, read_at, balance) VALUES
    ('9b2d00000000', now() - interval '1 hour', 560),
    ('9b2d00000000', now(), 512);

INSERT INTO spending (day, spent) VALUES ((now() AT TIME ZONE 'UTC')::date, 2516);

INSERT INTO schedules (
    id, producer_id, name, source, cron, zone, window_start, window_end, next_fire_at, next_due_at
) VALUES
    (:schedule, :producer, 'nightly <i>', 'https://shop.example/feed.csv?token=secret', '15 1 * * *', 'Europe/Paris',
        '01:00', '06:00', now() + interval '8 hours', now() + interval '8 hours'),
    (gen_random_uuid(), NULL, 'every quarter', 's3://bucket/x', '*/15 * * * *', 'UTC',
        NULL, NULL, now() + interval '5 minutes', now() + interval '5 minutes');

INSERT INTO runs (schedule_id, fire_at, due_at, state, note, started_at, finished_at, batch_id, report_key)
SELECT :schedule, at, at, state, 'a note of worker 7 on host', CASE WHEN state <> 'skipped' THEN at END,
    at + interval '9 minutes', CASE WHEN state <> 'skipped' THEN CAST(:batch AS uuid) END,
    CASE WHEN state = 'partial' THEN 'reports/x/report.json' END
FROM (
    SELECT now() - n * interval '1 day' AS at,
        (ARRAY['succeeded', 'partial', 'failed', 'over_budget', 'late', 'skipped'])[1 + n % 6] AS state
    FROM generate_series(0, 40) AS n
) AS made;

INSERT INTO runs (schedule_id, fire_at, due_at, state, note, finished_at)
SELECT id, at, at, 'skipped', 'x', at
FROM schedules, generate_series(now() - interval '2 days', now(), '15 minutes') AS at WHERE zone = 'UTC';

INSERT INTO workers (host, pid, call_threads, heartbeat_at, cut_off_at, cut_off_reason) VALUES
    ('w1', 7, 32, now(), NULL, NULL),
    ('w2', 9, 32, now(), now(), 'timed out'),
    ('w3', 11, 8, now() - interval '5 minutes', NULL, NULL)
