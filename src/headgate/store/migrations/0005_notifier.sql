-- Alerts, where each went, every attempt, silences, and the state of channels.

-- An alert as a workflow has told of it; its id never comes twice.
CREATE TABLE alert (
    id       text        PRIMARY KEY,
    seq      bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,  -- in the order they came
    kind     text        NOT NULL,
    severity text        NOT NULL,
    subject  text        NOT NULL,
    tenant   text,
    status   text        NOT NULL,
    key      text        NOT NULL,
    at_ms    bigint      NOT NULL,                             -- when it was decided
    taken_at timestamptz NOT NULL DEFAULT now(),
    content  jsonb       NOT NULL
);
CREATE INDEX alert_taken_at ON alert (taken_at);
CREATE INDEX alert_key ON alert (key, seq) WHERE key <> '';

-- What is sent to a channel: one alert, or several in one. Its content never changes.
CREATE TABLE alert_message (
    channel    text        NOT NULL,
    id         text        NOT NULL,
    seq        bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    form       text        NOT NULL CHECK (form IN ('alert', 'group', 'summary')),
    topic      text        NOT NULL,                           -- kind and status of a group's alerts
    content    jsonb       NOT NULL,
    state      text        NOT NULL DEFAULT 'pending'
               CHECK (state IN ('pending', 'delivered', 'abandoned')),
    attempts   integer     NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at     timestamptz NOT NULL DEFAULT now(),
    done_at    timestamptz,
    last_error text,
    PRIMARY KEY (channel, id)
);
CREATE INDEX alert_message_open ON alert_message (channel, seq) WHERE state = 'pending';
CREATE INDEX alert_message_created_at ON alert_message (channel, created_at);

CREATE TABLE alert_attempt (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel    text        NOT NULL,
    message_id text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    took_ms    integer     NOT NULL,
    outcome    text        NOT NULL,  -- delivered, refused, unreachable, misconfigured
    status     integer,               -- of HTTP
    error      text
);
CREATE INDEX alert_attempt_message ON alert_attempt (channel, message_id, id);

-- Which alert goes to which channel, and how far that has come.
INSERT INTO alert (id, kind, severity, subject, status, key, at_ms, taken_at, content)
    SELECT DISTINCT ON (alert_id) alert_id, alert->>'kind', alert->>'severity', alert->>'subject',
        coalesce(alert->>'status', 'firing'), coalesce(alert->>'key', ''),
        (alert->>'at_ms')::bigint,
        to_timestamp((alert->>'at_ms')::bigint / 1000.0), alert
    FROM delivery ORDER BY alert_id, channel;

ALTER TABLE delivery
    ADD COLUMN state      text        NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'composed', 'delivered', 'silenced', 'abandoned')),
    ADD COLUMN message_id text,
    ADD COLUMN silence_id text,
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN note       text;       -- why it was not delivered
UPDATE delivery SET state = 'delivered', message_id = alert_id WHERE delivered_at IS NOT NULL;
ALTER TABLE delivery DROP COLUMN alert, DROP COLUMN attempts, DROP COLUMN last_error;
CREATE INDEX delivery_pending ON delivery (channel) WHERE state = 'pending';
CREATE INDEX delivery_message ON delivery (channel, message_id);

-- What a channel is like now. One worker at a time serves it, until its claim runs out.
CREATE TABLE channel (
    name          text        PRIMARY KEY,
    fingerprint   text        NOT NULL,   -- of its settings: changed ones are tried at once
    claimed_by    text,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    not_before    timestamptz NOT NULL DEFAULT '-infinity',
    failures      integer     NOT NULL DEFAULT 0,  -- in a row
    failing_since timestamptz,
    told          boolean     NOT NULL DEFAULT false,  -- another channel was told of that
    disabled_at   timestamptz,
    last_error    text
);

-- Alerts that people do not want to hear of for a while. A pattern may end with *; null: any.
CREATE TABLE silence (
    id         text        PRIMARY KEY,
    kind       text,
    severity   text,
    subject    text,
    tenant     text,
    until      timestamptz NOT NULL,
    actor      text        NOT NULL,
    reason     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
