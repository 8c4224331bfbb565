-- Schedules, their runs, and the pictures that the last run saw.

CREATE TABLE schedules (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid,
    name text NOT NULL,
    source text NOT NULL,
    options jsonb NOT NULL DEFAULT '{}'::jsonb,
    cron text NOT NULL,
    zone text NOT NULL,
    window_start time without time zone,
    window_end time without time zone,
    at_window_end text NOT NULL DEFAULT 'wait',
    run_budget integer,
    month_budget integer,
    overlap text NOT NULL DEFAULT 'skip',
    catch_up text NOT NULL DEFAULT 'latest',
    jitter_seconds integer NOT NULL DEFAULT 0,
    grace_seconds integer NOT NULL DEFAULT 300,
    min_source_share real NOT NULL DEFAULT 0.5,
    webhook_url text,
    paused_at timestamptz,
    next_fire_at timestamptz NOT NULL,
    next_due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    paused_by_operator_at timestamptz,
    CONSTRAINT pk_schedules PRIMARY KEY (id),
    CONSTRAINT fk_schedules_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT ck_schedules_at_window_end_is_known
        CHECK (at_window_end IN ('wait', 'run_on')),
    CONSTRAINT ck_schedules_budgets_are_not_negative
        CHECK (run_budget >= 0 AND month_budget >= 0),
    CONSTRAINT ck_schedules_catch_up_is_known
        CHECK (catch_up IN ('skip', 'latest', 'all')),
    CONSTRAINT ck_schedules_due_at_its_time_or_later
        CHECK (next_due_at >= next_fire_at),
    CONSTRAINT ck_schedules_durations_are_not_negative
        CHECK (jitter_seconds >= 0 AND grace_seconds >= 0),
    CONSTRAINT ck_schedules_overlap_is_known
        CHECK (overlap IN ('skip', 'queue')),
    CONSTRAINT ck_schedules_min_source_share_is_a_share
        CHECK ((min_source_share >= (0)::double precision) AND (min_source_share <= (1)::double precision)),
    CONSTRAINT ck_schedules_window_has_a_length
        CHECK (window_start <> window_end),
    CONSTRAINT ck_schedules_window_has_two_ends
        CHECK ((window_start IS NULL) = (window_end IS NULL))
);
CREATE INDEX ix_schedules_next_due_at ON schedules (next_due_at)
    WHERE (paused_at IS NULL) AND (removed_at IS NULL);
CREATE UNIQUE INDEX uq_schedules_producer_id_name ON schedules (producer_id, name) NULLS NOT DISTINCT
    WHERE removed_at IS NULL;

CREATE TABLE runs (
    id uuid NOT NULL DEFAULT uuidv7(),
    schedule_id uuid NOT NULL,
    fire_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    fired_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting',
    batch_id uuid,
    closes_at timestamptz,
    accept_shrunk_source boolean NOT NULL DEFAULT false,
    note text,
    counts jsonb,
    started_at timestamptz,
    finished_at timestamptz,
    report_key text,
    CONSTRAINT pk_runs PRIMARY KEY (id),
    CONSTRAINT uq_runs_schedule_id_fire_at UNIQUE (schedule_id, fire_at),
    CONSTRAINT fk_runs_batch_id FOREIGN KEY (batch_id) REFERENCES batches(id),
    CONSTRAINT fk_runs_schedule_id FOREIGN KEY (schedule_id) REFERENCES schedules(id),
    CONSTRAINT ck_runs_begun_if_and_only_if_it_has_a_batch
        CHECK ((batch_id IS NULL) = (started_at IS NULL)),
    CONSTRAINT ck_runs_ended_if_and_only_if_finished
        CHECK ((state IN ('waiting', 'ingesting', 'working')) = (finished_at IS NULL)),
    CONSTRAINT ck_runs_only_what_was_begun_has_a_batch
        CHECK (((state IN ('waiting', 'skipped')) = (batch_id IS NULL)) OR state = 'failed'),
    CONSTRAINT ck_runs_state_is_known
        CHECK (state IN ('waiting', 'ingesting', 'working', 'succeeded', 'partial', 'failed', 'over_budget', 'late', 'skipped')),
    CONSTRAINT ck_runs_what_went_wrong_says_why
        CHECK ((state NOT IN ('skipped', 'failed', 'late')) OR note IS NOT NULL)
);
CREATE INDEX ix_runs_batch_id ON runs (batch_id)
    WHERE batch_id IS NOT NULL;
CREATE INDEX ix_runs_waiting ON runs (schedule_id, fire_at)
    WHERE state = 'waiting';
CREATE INDEX ix_runs_without_report ON runs (id)
    WHERE (report_key IS NULL) AND (finished_at IS NOT NULL) AND (state <> 'skipped');
CREATE UNIQUE INDEX uq_runs_schedule_id_under_way ON runs (schedule_id)
    WHERE state IN ('ingesting', 'working');

CREATE TABLE pictures (
    schedule_id uuid NOT NULL,
    external_id text NOT NULL,
    version text,
    batch_id uuid NOT NULL,
    seen_in uuid NOT NULL,
    change text NOT NULL,
    CONSTRAINT pk_pictures PRIMARY KEY (schedule_id, external_id),
    CONSTRAINT ck_pictures_change_is_known
        CHECK (change IN ('new', 'changed', 'again'))
);
