-- A message may take several requests; what was taken of it is not sent again.
ALTER TABLE alert_message
    ADD COLUMN parts_taken integer NOT NULL DEFAULT 0,
    ADD COLUMN refused     boolean NOT NULL DEFAULT false;  -- it was not liked, though others may be

-- What people know of a channel stands in its alerts. Some forget what they are not told again.
ALTER TABLE channel
    DROP COLUMN told,
    ADD COLUMN reminded_at timestamptz NOT NULL DEFAULT now();
