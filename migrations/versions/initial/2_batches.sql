-- Batches, the ingests that fill them, and the order in which producers are served by ingesters.

CREATE TABLE batches (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid,
    name text NOT NULL,
    weight real NOT NULL DEFAULT 1,
    last_virtual_start double precision NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    paused_at timestamptz,
    budget integer,
    spent integer NOT NULL DEFAULT 0,
    blocked boolean NOT NULL DEFAULT false,
    virtual_shift double precision,
    reuse boolean NOT NULL DEFAULT true,
    results_key text,
    webhook_url text,
    opens_at timestamptz,
    closes_at timestamptz,
    cancelled_at timestamptz,
    webhook_jobs text NOT NULL DEFAULT 'none',
    results_unwritten_at timestamptz,
    paused_by_operator_at timestamptz,
    CONSTRAINT pk_batches PRIMARY KEY (id),
    CONSTRAINT fk_batches_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT ck_batches_budget_is_not_negative
        CHECK (budget >= 0 AND spent >= 0),
    CONSTRAINT ck_batches_webhook_jobs_is_known
        CHECK (webhook_jobs IN ('none', 'each', 'digest')),
    CONSTRAINT ck_batches_webhook_url_has_a_host
        CHECK (webhook_url ~ '^https?://[^/?#]+'),
    CONSTRAINT ck_batches_weight_is_positive
        CHECK (weight > (0)::double precision),
    CONSTRAINT ck_batches_window_has_a_length
        CHECK (opens_at < closes_at)
);
CREATE INDEX ix_batches_closes_at ON batches (closes_at)
    WHERE closes_at IS NOT NULL;
CREATE INDEX ix_batches_producer ON batches (producer_id, id)
    WHERE producer_id IS NOT NULL;
CREATE INDEX ix_batches_without_results ON batches (id)
    WHERE (results_key IS NULL) AND (last_virtual_start > (0)::double precision);

CREATE TABLE ingests (
    batch_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    kind text NOT NULL,
    manifest_key text,
    options jsonb NOT NULL DEFAULT '{}'::jsonb,
    records bigint NOT NULL DEFAULT 0,
    pictures bigint NOT NULL DEFAULT 0,
    jobs bigint NOT NULL DEFAULT 0,
    rejects bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    source text,
    due_at timestamptz,
    tries smallint NOT NULL DEFAULT 0,
    error text,
    rejects_key text,
    plan jsonb,
    unchanged bigint NOT NULL DEFAULT 0,
    changes jsonb,
    skipped jsonb,
    remarks jsonb,
    code text,
    message text,
    asked_by uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    to_fetch boolean NOT NULL DEFAULT false,
    deaths smallint NOT NULL DEFAULT 0,
    CONSTRAINT pk_ingests PRIMARY KEY (batch_id),
    CONSTRAINT fk_ingests_batch_id FOREIGN KEY (batch_id) REFERENCES batches(id),
    CONSTRAINT ck_ingests_an_error_ends_it
        CHECK (error IS NULL OR finished_at IS NOT NULL),
    CONSTRAINT ck_ingests_counts_add_up
        CHECK (pictures = (((jobs + rejects) + duplicates) + unchanged)),
    CONSTRAINT ck_ingests_requested_if_and_only_if_due
        CHECK ((source IS NULL) = (due_at IS NULL))
);
CREATE INDEX ix_ingests_requested ON ingests (due_at)
    WHERE (source IS NOT NULL) AND (finished_at IS NULL);
CREATE INDEX ix_ingests_turns ON ingests (to_fetch, asked_by, due_at)
    WHERE (source IS NOT NULL) AND (finished_at IS NULL);
CREATE UNIQUE INDEX uq_ingests_fingerprint_unfinished ON ingests (fingerprint)
    WHERE finished_at IS NULL;

CREATE TABLE ingest_turns (
    asked_by uuid NOT NULL,
    taken_at timestamptz NOT NULL,
    CONSTRAINT pk_ingest_turns PRIMARY KEY (asked_by)
);
