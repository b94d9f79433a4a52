-- What runs is decided in workflows. This is their memory for restores, and the read side for people.

CREATE TABLE snapshot (
    kind        text   NOT NULL CHECK (kind IN ('breaker', 'ledger')),
    subject     text   NOT NULL,
    incarnation bigint NOT NULL,  -- how often a workflow has started from here
    revision    bigint NOT NULL,  -- only rises; -1: begun, nothing saved yet
    at_ms       bigint NOT NULL,  -- by the workflow's clock
    state       text,             -- for a restore; text, because jsonb does not keep the order of keys
    view        jsonb,            -- for readers
    PRIMARY KEY (kind, subject)
);

CREATE TABLE breaker_transition (
    downstream text   NOT NULL,
    epoch      bigint NOT NULL,
    at_ms      bigint NOT NULL,
    source     text   NOT NULL,
    target     text   NOT NULL,
    rule       text   NOT NULL,
    reason     text   NOT NULL,
    numbers    jsonb  NOT NULL,
    PRIMARY KEY (downstream, epoch)
);
CREATE INDEX breaker_transition_at ON breaker_transition (at_ms);

-- The configuration as it was last applied. Name '*': what holds for whatever is not listed.
CREATE TABLE configuration (
    kind       text        NOT NULL CHECK (kind IN ('downstream', 'tenant', 'pool', 'notifier')),
    name       text        NOT NULL,
    spec       jsonb       NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name)
);

CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text        NOT NULL,
    reason  text        NOT NULL,
    action  text        NOT NULL,
    target  text        NOT NULL,
    before  jsonb,
    after   jsonb
);

CREATE TABLE delivery (
    alert_id     text        NOT NULL,
    channel      text        NOT NULL,
    alert        jsonb       NOT NULL,
    attempts     integer     NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    last_error   text,
    PRIMARY KEY (alert_id, channel)
);
