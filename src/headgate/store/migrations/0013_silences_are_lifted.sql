-- What still lasts when a silence ends is told then, once; what ended before this is left as it is.
ALTER TABLE silence ADD COLUMN lifted boolean NOT NULL DEFAULT false;
UPDATE silence SET lifted = true WHERE ended_at IS NOT NULL OR until <= now();
CREATE INDEX silence_to_lift ON silence (until) WHERE NOT lifted;
CREATE INDEX delivery_silenced ON delivery (silence_id) WHERE state = 'silenced';
