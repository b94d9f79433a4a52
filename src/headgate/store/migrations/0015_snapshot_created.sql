-- Since when there has been something: nothing is claimed of the time before. Of what is there
-- already the oldest is taken that is known of it.
ALTER TABLE snapshot ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
UPDATE snapshot s SET created_at = to_timestamp(least(
    nullif(s.at_ms, 0),
    (SELECT min(at_ms) FROM breaker_transition WHERE downstream = s.subject),
    (SELECT min(at_ms) FROM outcome_span WHERE downstream = s.subject)
) / 1000.0)
WHERE s.kind = 'breaker' AND s.revision >= 0;
