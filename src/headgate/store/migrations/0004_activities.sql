-- Which calls are governed is part of the configuration.
ALTER TABLE configuration DROP CONSTRAINT configuration_kind_check;
ALTER TABLE configuration ADD CONSTRAINT configuration_kind_check
    CHECK (kind IN ('downstream', 'tenant', 'group', 'pool', 'activity', 'notifier'));
