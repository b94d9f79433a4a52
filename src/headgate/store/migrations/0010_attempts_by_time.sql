-- How many messages a channel was sent lately is asked before each one.
CREATE INDEX alert_attempt_at ON alert_attempt (channel, at);
