-- An installation with :rows jobs: a large open batch with half of them, four large ones that ended, and
-- 2,000 small ones, of which every 20th is open. Producer :shop has all but each fifth of the small ones.
INSERT INTO accounts (name, credits, credits_at) VALUES ('bench', 500000, now());

INSERT INTO limits (account, level, top, open_calls, waiting, calls_per_second, latency_seconds)
VALUES ('bench', 40, 40, 34, 3, 14.1, 2);

INSERT INTO workers (host, pid, call_threads) SELECT 'w' || n, n, 32 FROM generate_series(1, 8) AS n;

INSERT INTO spending (day, spent) VALUES ((now() AT TIME ZONE 'UTC')::date, 2516);

INSERT INTO credit_readings (account, read_at, balance)
VALUES ('bench', now() - interval '1 hour', 500100), ('bench', now(), 500000);

CREATE TEMPORARY TABLE filled AS
SELECT uuidv7() AS id, n AS place, n = 2001 OR n <= 2000 AND n % 20 = 0 AS is_open,
    CASE n WHEN 2001 THEN :rows / 2 WHEN 2002 THEN :rows / 5 ELSE 0 END
        + CASE WHEN n > 2002 THEN :rows / 15 WHEN n <= 2000 THEN greatest(:rows / 20000, 1) ELSE 0 END AS jobs
FROM (SELECT n FROM generate_series(1, 2005) AS n ORDER BY n) AS numbered;

INSERT INTO batches (id, producer_id, name, last_virtual_start, results_key, tally, spent, budget)
SELECT id, CASE WHEN place <= 2000 AND place % 5 = 0 THEN :other ELSE :shop END,
    CASE place WHEN 2001 THEN 'catalog' ELSE 'batch ' || place END, place,
    CASE WHEN NOT is_open THEN 'results/' || id END,
    CASE WHEN NOT is_open THEN jsonb_build_object('succeeded', jobs - jobs / 20, 'failed', jobs / 20) END,
    CASE place WHEN 40 THEN 100 ELSE 0 END, CASE place WHEN 40 THEN 100 END
FROM filled;

-- A job in 20 failed, one in 100,000 by a code of its own; of the open batches half of the jobs wait.
INSERT INTO jobs (producer_id, batch_id, external_id, source, state, queue_state, virtual_start, key, sha256,
    media_type, size_bytes, width, height, code, message, created_at, finished_at, reused)
SELECT CASE WHEN b.place <= 2000 AND b.place % 5 = 0 THEN :other ELSE :shop END, b.id, 'SKU-' || lpad(n::text, 7, '0'),
    'https://shop.example/pictures/' || n || '.jpg',
    CASE WHEN held THEN 'held' WHEN waits THEN 'queued' WHEN fails THEN 'failed' ELSE 'succeeded' END,
    CASE WHEN waits AND NOT held THEN 'ready' END, n,
    CASE WHEN done THEN 'cutouts/' || b.id || '/SKU-' || n || '.png' END,
    CASE WHEN done THEN sha256(n::text::bytea) END,
    CASE WHEN done THEN 'image/png' END, 123456, 1200, 1200,
    CASE WHEN held THEN (ARRAY['NO_ANSWER', 'PICTURE_KILLS_WORKER'])[1 + n % 2] WHEN NOT fails THEN NULL
        WHEN n % 100000 = 20 THEN 'IMAGE_TOO_LARGE'
        ELSE (ARRAY['IMAGE_NOT_A_PICTURE', 'SOURCE_UNAVAILABLE', 'IMAGE_TOO_SMALL'])[1 + n / 20 % 3] END,
    CASE WHEN held OR fails THEN 'the picture of ' || n || ' is not as it must be' END,
    now() - interval '3 hours', CASE WHEN NOT waits THEN now() - n * interval '10 ms' END, done AND n % 3 = 0
FROM filled AS b, generate_series(1, b.jobs) AS n,
    LATERAL (SELECT b.is_open AND n > b.jobs / 2 AS waits) AS later,
    LATERAL (SELECT waits AND b.place = 2001 AND n % 1000 = 0 AS held) AS stuck,
    LATERAL (SELECT NOT waits AND n % 20 = 0 AS fails) AS bad,
    LATERAL (SELECT NOT waits AND NOT fails AS done) AS good;

-- Paid results that are stored nowhere yet.
UPDATE jobs SET step = 'copy', result_url = 'https://results.example/x', result_expires_at = now() + interval '2 h'
WHERE id IN (
    SELECT jobs.id FROM jobs JOIN filled ON filled.id = batch_id
    WHERE filled.place = 2001 AND queue_state = 'ready' AND external_id LIKE '%77' LIMIT 100
);

INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, outcome, begun_at, ended_at)
SELECT id, 1, 1, uuidv7(), 'bench', sha256('x'), CASE state WHEN 'succeeded' THEN 'charged' ELSE 'not_charged' END,
    at, at + interval '2 s'
FROM jobs, LATERAL (SELECT finished_at - interval '1 day' * (virtual_start::bigint % 28) AS at) AS begun
WHERE state IN ('succeeded', 'failed') AND NOT reused;

INSERT INTO attempts (
    job_id, number, fence, worker_id, account, image_sha256, outcome, begun_at, ended_at, unknown_at, code
)
SELECT id, 1, 1, uuidv7(), 'bench', sha256('x'), 'unknown', now() - interval '1 h', now(), now(), 'NO_ANSWER'
FROM jobs WHERE state = 'held';

INSERT INTO deliveries (producer_id, url, type, payload, state, last_error, created_at, finished_at, tries)
SELECT :shop, 'https://hooks.example/x', 'job.succeeded', '{}',
    CASE WHEN n % 100 = 0 THEN 'given_up' ELSE 'delivered' END,
    CASE WHEN n % 100 = 0 THEN 'the server answered 500' END, now() - interval '1 day', now(), 1
FROM generate_series(1, :rows / 20) AS n;

INSERT INTO schedules (producer_id, name, source, cron, zone, next_fire_at, next_due_at)
SELECT :shop, 'nightly ' || n, 'https://shop.example/feed.csv', '15 1 * * *', 'Europe/Paris', at, at
FROM generate_series(1, 40) AS n, LATERAL (SELECT now() + n * interval '1 h' AS at) AS next;

INSERT INTO runs (schedule_id, fire_at, due_at, state, note, started_at, finished_at, batch_id)
SELECT schedules.id, at, at, CASE n % 9 WHEN 8 THEN 'skipped' ELSE 'succeeded' END,
    'the source did not change', CASE n % 9 WHEN 8 THEN NULL ELSE at END, at + interval '9 min',
    CASE n % 9 WHEN 8 THEN NULL ELSE (SELECT id FROM filled WHERE filled.place = 1 + runs.n) END
FROM schedules, generate_series(0, 400) AS runs (n), LATERAL (SELECT now() - runs.n * interval '6 h' AS at) AS fired;
