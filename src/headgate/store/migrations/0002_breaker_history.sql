-- Who did what to a breaker, and the outcomes by time for backtests and the dashboard.

ALTER TABLE breaker_transition
    ADD COLUMN actor    text,                            -- when people did it
    ADD COLUMN enforced boolean NOT NULL DEFAULT true;   -- false: an override hid it from callers

CREATE TABLE outcome_span (
    downstream  text   NOT NULL,
    at_ms       bigint NOT NULL,
    incarnation bigint NOT NULL,  -- a breaker that was restored counts its span anew
    successes   bigint NOT NULL,
    failures    bigint NOT NULL,
    ignored     bigint NOT NULL,
    slow        bigint NOT NULL,
    rejected    bigint NOT NULL,
    duration_ms bigint NOT NULL,
    PRIMARY KEY (downstream, at_ms, incarnation)
);
CREATE INDEX outcome_span_at ON outcome_span (at_ms);
