-- The REST API: who may call it, what was asked under which request id, and reads that stay fast.

CREATE TABLE api_key (
    id          text        NOT NULL PRIMARY KEY,
    secret_hash bytea       NOT NULL,  -- SHA-256; the secret has 256 random bits, so no salt is needed
    name        text        NOT NULL,
    role        text        NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    tenant      text,                  -- only of this tenant; null: of all
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text        NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz,
    revoked_by  text,
    used_at     timestamptz            -- about when it was last used
);

-- Who is logged in to the dashboard, and by which key.
CREATE TABLE api_session (
    token_hash bytea       NOT NULL PRIMARY KEY,
    key_id     text        NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX api_session_expires ON api_session (expires_at);

-- Writes by their request id, so that it cannot stand for two, and for how and by whom.
CREATE TABLE api_request (
    id          text        NOT NULL PRIMARY KEY,
    actor       text        NOT NULL,
    how         text        NOT NULL,
    fingerprint bytea       NOT NULL,  -- of what was asked
    target      text        NOT NULL,
    workflow    text,
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_request_at ON api_request (at);

ALTER TABLE audit
    ADD COLUMN how      text,          -- how the actor was authenticated
    ADD COLUMN workflow text;          -- that was told
-- One command may end two things at the same moment; their reasons differ.
DROP INDEX audit_once;
CREATE UNIQUE INDEX audit_once ON audit (target, action, at, request_id, reason)
    WHERE request_id IS NOT NULL;
CREATE INDEX audit_target ON audit (target text_pattern_ops, id DESC);
CREATE INDEX audit_actor ON audit (actor, id DESC);

-- Which snapshots have changed since: a reader asks for transactions that it has not seen.
ALTER TABLE snapshot ADD COLUMN changed bigint NOT NULL DEFAULT 0;
CREATE FUNCTION snapshot_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
CREATE TRIGGER snapshot_changed BEFORE INSERT OR UPDATE ON snapshot
    FOR EACH ROW EXECUTE FUNCTION snapshot_changed();
CREATE INDEX snapshot_by_change ON snapshot (changed);

-- What thousands of tenants are sorted by.
CREATE FUNCTION sum_of(amounts jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(sum(value::bigint), 0)::bigint
    FROM jsonb_each_text(CASE jsonb_typeof(amounts) WHEN 'object' THEN amounts ELSE '{}' END)
$$;
ALTER TABLE snapshot
    ADD COLUMN waiting bigint GENERATED ALWAYS AS (sum_of(view -> 'waiting')) STORED,
    ADD COLUMN held    bigint GENERATED ALWAYS AS (sum_of(view -> 'units_held')) STORED;
CREATE INDEX snapshot_by_waiting ON snapshot (kind, waiting DESC, subject);
CREATE INDEX snapshot_by_held ON snapshot (kind, held DESC, subject);
