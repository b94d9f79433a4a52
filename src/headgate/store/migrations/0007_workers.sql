-- Which governance workers run: without it, an idle fleet and a dead one look the same.
CREATE TABLE governance_worker (
    id         text        NOT NULL PRIMARY KEY,
    version    text        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
