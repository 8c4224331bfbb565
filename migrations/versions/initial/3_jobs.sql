-- Jobs, and hashes of uploaded sources.

CREATE TABLE jobs (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid,
    batch_id uuid,
    external_id text,
    source text NOT NULL,
    return_form text NOT NULL DEFAULT 'rgba',
    state text NOT NULL DEFAULT 'queued',
    step text NOT NULL DEFAULT 'call',
    queue_state text,
    priority smallint NOT NULL DEFAULT 1,
    virtual_start double precision NOT NULL,
    scheduled_at timestamptz NOT NULL DEFAULT now(),
    fence integer NOT NULL DEFAULT 0,
    tries smallint NOT NULL DEFAULT 0,
    worker_id uuid,
    result_url text,
    result_expires_at timestamptz,
    sent_width integer,
    sent_height integer,
    key text,
    sha256 bytea,
    media_type text,
    size_bytes integer,
    width integer,
    height integer,
    code text,
    message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    lifeboat_key text,
    source_sha256 bytea,
    details jsonb,
    reused boolean NOT NULL DEFAULT false,
    trace text,
    webhook_url text,
    deleted_at timestamptz,
    claimed_at_beat integer,
    gone_tries smallint NOT NULL DEFAULT 0,
    unexpected jsonb,
    warning text,
    source_failed_at timestamptz,
    cancelled_at timestamptz,
    result_attempt bigint,
    released_at timestamptz,
    waits_for uuid,
    deaths smallint NOT NULL DEFAULT 0,
    manifest_line bigint,
    manifest_source text,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT uq_jobs_batch_id_external_id_return_form UNIQUE (batch_id, external_id, return_form),
    CONSTRAINT fk_jobs_batch_id FOREIGN KEY (batch_id) REFERENCES batches(id),
    CONSTRAINT fk_jobs_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT ck_jobs_deleted_is_final_and_emptied
        CHECK (deleted_at IS NULL OR (finished_at IS NOT NULL AND producer_id IS NULL AND external_id IS NULL)),
    CONSTRAINT ck_jobs_failed_and_held_say_why
        CHECK ((state NOT IN ('failed', 'held')) OR code IS NOT NULL),
    CONSTRAINT ck_jobs_final_if_and_only_if_finished
        CHECK ((state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)),
    CONSTRAINT ck_jobs_lifeboat_holds_a_paid_result
        CHECK (lifeboat_key IS NULL OR result_url IS NOT NULL),
    CONSTRAINT ck_jobs_queued_if_and_only_if_queue_state
        CHECK (((state = 'queued') = (queue_state IS NOT NULL)) OR (state = 'held' AND queue_state = 'blocked')),
    CONSTRAINT ck_jobs_result_url_belongs_to_the_copy
        CHECK (((result_url IS NULL) = (result_expires_at IS NULL)) AND (step = 'copy' OR result_url IS NULL)),
    CONSTRAINT ck_jobs_result_url_is_forgotten_once_copied
        CHECK (state <> 'succeeded' OR result_url IS NULL),
    CONSTRAINT ck_jobs_return_form_is_known
        CHECK (return_form IN ('rgba', 'mask', 'whiteBK', 'crop')),
    CONSTRAINT ck_jobs_running_if_and_only_if_claimed
        CHECK ((state = 'running') = (worker_id IS NOT NULL)),
    CONSTRAINT ck_jobs_queue_state_is_known
        CHECK (queue_state IN ('ready', 'dispatched', 'reusing', 'delayed', 'waiting', 'source_limit', 'blocked')),
    CONSTRAINT ck_jobs_state_is_known
        CHECK (state IN ('queued', 'running', 'held', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT ck_jobs_step_is_known
        CHECK (step IN ('call', 'copy')),
    CONSTRAINT ck_jobs_succeeded_if_and_only_if_stored
        CHECK (((state = 'succeeded' AND deleted_at IS NULL) = (key IS NOT NULL)) AND ((key IS NULL) = (sha256 IS NULL))),
    CONSTRAINT ck_jobs_waits_for_somebody
        CHECK (queue_state <> 'waiting' OR waits_for IS NOT NULL),
    CONSTRAINT ck_jobs_webhook_url_has_a_host
        CHECK (webhook_url ~ '^https?://[^/?#]+')
);
CREATE INDEX ix_jobs_batch_state ON jobs (batch_id, state)
    WHERE batch_id IS NOT NULL;
CREATE INDEX ix_jobs_copies ON jobs (result_expires_at)
    WHERE (queue_state = 'ready') AND (step = 'copy');
CREATE INDEX ix_jobs_due ON jobs (queue_state, scheduled_at)
    WHERE queue_state IN ('dispatched', 'reusing', 'delayed');
CREATE INDEX ix_jobs_finished ON jobs (batch_id, finished_at, id)
    WHERE (finished_at IS NOT NULL) AND (batch_id IS NOT NULL);
CREATE INDEX ix_jobs_held ON jobs (code, queue_state)
    WHERE state = 'held';
CREATE INDEX ix_jobs_held_pictures ON jobs (source_sha256)
    WHERE (state = 'held') AND (queue_state IS NULL);
CREATE INDEX ix_jobs_key ON jobs USING hash (key)
    WHERE key IS NOT NULL;
CREATE INDEX ix_jobs_ready
    ON jobs (step, COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'), priority, virtual_start)
    WHERE queue_state = 'ready';
CREATE INDEX ix_jobs_over_budget ON jobs (batch_id, virtual_start)
    WHERE (queue_state = 'blocked') AND (code = 'OVER_BUDGET');
CREATE INDEX ix_jobs_blocked ON jobs (batch_id, virtual_start)
    WHERE (queue_state = 'blocked') AND (code IS DISTINCT FROM 'OVER_BUDGET');
CREATE INDEX ix_jobs_producer ON jobs (producer_id, id)
    WHERE producer_id IS NOT NULL;
CREATE INDEX ix_jobs_producer_batch ON jobs (batch_id, id)
    WHERE (producer_id IS NOT NULL) AND (batch_id IS NOT NULL);
CREATE INDEX ix_jobs_running ON jobs (scheduled_at)
    WHERE state = 'running';
CREATE INDEX ix_jobs_source_limit ON jobs (COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'), priority, virtual_start)
    WHERE queue_state = 'source_limit';
CREATE INDEX ix_jobs_uploaded ON jobs USING hash (source)
    WHERE source ~ '^s3://[^/]+/sources/';
CREATE INDEX ix_jobs_waiting ON jobs (waits_for, priority, virtual_start)
    WHERE queue_state = 'waiting';

CREATE TABLE sources (
    address_sha256 bytea NOT NULL,
    etag text,
    last_modified text,
    content_sha256 bytea NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_sources PRIMARY KEY (address_sha256)
);
