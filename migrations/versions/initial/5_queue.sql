-- The queue's virtual time, each producer's share, workers and breakers.

CREATE TABLE queue_clock (
    id smallint NOT NULL DEFAULT 1,
    paused_at timestamptz,
    virtual_time double precision NOT NULL DEFAULT 0,
    CONSTRAINT pk_queue_clock PRIMARY KEY (id),
    CONSTRAINT ck_queue_clock_there_is_one_clock
        CHECK (id = 1)
);

CREATE TABLE shares (
    owner uuid NOT NULL,
    virtual_time double precision NOT NULL DEFAULT 0,
    queue_virtual_time double precision NOT NULL DEFAULT 0,
    CONSTRAINT pk_shares PRIMARY KEY (owner)
);

CREATE TABLE workers (
    id uuid NOT NULL DEFAULT uuidv7(),
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    left_at timestamptz,
    beats integer NOT NULL DEFAULT 0,
    carried_jobs uuid[],
    carried_fences integer[],
    cut_off_at timestamptz,
    cut_off_reason text,
    call_threads integer,
    CONSTRAINT pk_workers PRIMARY KEY (id)
);
CREATE INDEX ix_workers_cut_off ON workers (id)
    WHERE cut_off_at IS NOT NULL;

CREATE TABLE breaker (
    id smallint NOT NULL DEFAULT 1,
    opened_at timestamptz,
    reason text,
    probe_at timestamptz,
    closed_at timestamptz NOT NULL DEFAULT now(),
    trips smallint NOT NULL DEFAULT 0,
    kind text NOT NULL DEFAULT 'bucket',
    host text,
    code text,
    failed_jobs uuid[] NOT NULL DEFAULT '{}',
    probe_job uuid,
    CONSTRAINT pk_breaker PRIMARY KEY (kind),
    CONSTRAINT ck_breaker_kind_is_known
        CHECK (kind IN ('bucket', 'results', 'backlog')),
    CONSTRAINT ck_breaker_open_with_a_reason_and_a_probe
        CHECK (((opened_at IS NULL) = (reason IS NULL)) AND ((opened_at IS NULL) = (probe_at IS NULL)))
);

-- Rows that the program expects.
INSERT INTO queue_clock (id) VALUES (1);
INSERT INTO breaker (kind) VALUES ('bucket');
INSERT INTO shares (owner) VALUES ('00000000-0000-0000-0000-000000000000');
