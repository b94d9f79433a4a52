-- When Temporal last answered a governance worker: one that runs decides nothing while it does not.
-- NULL: a worker of before, which does not say.
ALTER TABLE governance_worker ADD COLUMN temporal_answered_at timestamptz;
