-- Producers, their API keys, and answers kept for idempotency keys.

CREATE TABLE producers (
    id uuid NOT NULL DEFAULT uuidv7(),
    name text NOT NULL,
    key_sha256 bytea,
    last_virtual_start double precision NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    job_quota integer,
    quota_taken integer NOT NULL DEFAULT 0,
    quota_counted_at timestamptz,
    suspended_at timestamptz,
    share real NOT NULL DEFAULT 1,
    top_priority smallint,
    most_weight real,
    CONSTRAINT pk_producers PRIMARY KEY (id),
    CONSTRAINT uq_producers_key_sha256 UNIQUE (key_sha256),
    CONSTRAINT ck_producers_most_weight_is_positive
        CHECK (most_weight > (0)::double precision),
    CONSTRAINT ck_producers_quota_is_not_negative
        CHECK (job_quota >= 0 AND quota_taken >= 0),
    CONSTRAINT ck_producers_share_is_positive
        CHECK (share > (0)::double precision),
    CONSTRAINT ck_producers_top_priority_is_known
        CHECK (top_priority >= 0 AND top_priority <= 2)
);

CREATE TABLE api_keys (
    id uuid NOT NULL DEFAULT uuidv7(),
    producer_id uuid NOT NULL,
    name text NOT NULL,
    key_sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_key_sha256 UNIQUE (key_sha256),
    CONSTRAINT fk_api_keys_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id),
    CONSTRAINT ck_api_keys_scopes_are_known
        CHECK ((cardinality(scopes) > 0) AND (scopes <@ ARRAY['enqueue', 'read', 'admin']))
);
CREATE INDEX ix_api_keys_producer_id ON api_keys (producer_id);

CREATE TABLE idempotency_keys (
    producer_id uuid NOT NULL,
    key text NOT NULL,
    request_sha256 bytea NOT NULL,
    status smallint NOT NULL,
    media_type text,
    location text,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (producer_id, key),
    CONSTRAINT fk_idempotency_keys_producer_id FOREIGN KEY (producer_id) REFERENCES producers(id)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
