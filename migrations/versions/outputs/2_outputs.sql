-- Outputs, and the renderers that make them.

CREATE TABLE outputs (
    job_id uuid NOT NULL,
    name text NOT NULL,
    producer_id uuid,
    batch_id uuid,
    priority smallint NOT NULL,
    recipe text NOT NULL,
    file text,
    bought_sha256 bytea NOT NULL,
    source_sha256 bytea,
    state text NOT NULL DEFAULT 'waiting',
    tries smallint NOT NULL DEFAULT 0,
    fence integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    version smallint,
    key text,
    sha256 bytea,
    media_type text,
    size_bytes integer,
    width integer,
    height integer,
    factor real,
    measures jsonb,
    problems jsonb,
    note text,
    cpu_seconds real,
    code text,
    message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT pk_outputs PRIMARY KEY (job_id, name),
    CONSTRAINT fk_outputs_job_id FOREIGN KEY (job_id) REFERENCES jobs(id),
    CONSTRAINT ck_outputs_state_is_known CHECK (state IN ('waiting', 'made', 'failed')),
    CONSTRAINT ck_outputs_waiting_if_and_only_if_unfinished
        CHECK ((state = 'waiting') = (finished_at IS NULL)),
    CONSTRAINT ck_outputs_failed_says_why CHECK (state <> 'failed' OR code IS NOT NULL),
    CONSTRAINT ck_outputs_stored_under_a_key CHECK ((key IS NULL) = (sha256 IS NULL))
);
CREATE INDEX ix_outputs_waiting ON outputs (COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid), priority, due_at)
    WHERE state = 'waiting';
CREATE INDEX ix_outputs_picture ON outputs (bought_sha256, priority, due_at) WHERE state = 'waiting';
CREATE INDEX ix_outputs_bought ON outputs (bought_sha256, recipe, COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid), job_id)
    WHERE state = 'made';
CREATE INDEX ix_outputs_batch ON outputs (batch_id, state, name) WHERE batch_id IS NOT NULL;
CREATE INDEX ix_outputs_key ON outputs USING hash (key) WHERE key IS NOT NULL;
CREATE TABLE renderers (
    id uuid NOT NULL DEFAULT uuidv7(),
    host text NOT NULL,
    processes smallint NOT NULL,
    made integer NOT NULL DEFAULT 0,
    busy_seconds real NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_renderers PRIMARY KEY (id)
);
CREATE TABLE calibrations (
    endpoint text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    found jsonb NOT NULL,
    CONSTRAINT pk_calibrations PRIMARY KEY (endpoint)
);
