-- Pools and their governors, what holds for each subject, and who did what to quotas and pools.

ALTER TABLE snapshot DROP CONSTRAINT snapshot_kind_check;
ALTER TABLE snapshot ADD CONSTRAINT snapshot_kind_check
    CHECK (kind IN ('breaker', 'ledger', 'governor'));

ALTER TABLE configuration DROP CONSTRAINT configuration_kind_check;
ALTER TABLE configuration ADD CONSTRAINT configuration_kind_check
    CHECK (kind IN ('downstream', 'tenant', 'group', 'pool', 'notifier'));

-- The applied configuration again, as each workflow takes it. Subject '*': whoever is not listed.
CREATE TABLE applied (
    kind     text  NOT NULL CHECK (kind IN ('breaker', 'ledger', 'governor')),
    subject  text  NOT NULL,
    settings jsonb NOT NULL,
    PRIMARY KEY (kind, subject)
);

-- Pauses and cuts of a resource, for every tenant.
CREATE TABLE resource_throttle (
    id       text   NOT NULL PRIMARY KEY,
    throttle jsonb  NOT NULL,
    until_ms bigint
);

-- An activity that is tried again writes its entries once.
ALTER TABLE audit ADD COLUMN request_id text;
CREATE UNIQUE INDEX audit_once ON audit (target, action, at, request_id)
    WHERE request_id IS NOT NULL;
