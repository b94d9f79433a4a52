-- What stands new in the audit is found as changes of snapshots are, by who looks for them.

ALTER TABLE audit ADD COLUMN changed bigint NOT NULL DEFAULT 0;
CREATE TRIGGER audit_changed BEFORE INSERT OR UPDATE ON audit
    FOR EACH ROW EXECUTE FUNCTION row_changed();
CREATE INDEX audit_by_change ON audit (changed);
