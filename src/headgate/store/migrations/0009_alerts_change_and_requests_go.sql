-- What people were told of has changed: found as changes of snapshots are, by who looks for them.
-- And the audit has in itself what is known of a request, as requests are forgotten before it.

ALTER TABLE alert         ADD COLUMN changed bigint NOT NULL DEFAULT 0;
ALTER TABLE alert_message ADD COLUMN changed bigint NOT NULL DEFAULT 0;
ALTER TABLE delivery      ADD COLUMN changed bigint NOT NULL DEFAULT 0;
ALTER TABLE silence       ADD COLUMN changed bigint NOT NULL DEFAULT 0;

ALTER FUNCTION snapshot_changed() RENAME TO row_changed;
CREATE TRIGGER alert_changed BEFORE INSERT OR UPDATE ON alert
    FOR EACH ROW EXECUTE FUNCTION row_changed();
CREATE TRIGGER alert_message_changed BEFORE INSERT OR UPDATE ON alert_message
    FOR EACH ROW EXECUTE FUNCTION row_changed();
CREATE TRIGGER delivery_changed BEFORE INSERT OR UPDATE ON delivery
    FOR EACH ROW EXECUTE FUNCTION row_changed();
CREATE TRIGGER silence_changed BEFORE INSERT OR UPDATE ON silence
    FOR EACH ROW EXECUTE FUNCTION row_changed();

CREATE INDEX alert_by_change         ON alert (changed);
CREATE INDEX alert_message_by_change ON alert_message (changed);
CREATE INDEX delivery_by_change      ON delivery (changed);
CREATE INDEX silence_by_change       ON silence (changed);

UPDATE audit a SET how = coalesce(a.how, r.how), workflow = coalesce(a.workflow, r.workflow)
    FROM api_request r WHERE r.id = a.request_id;
