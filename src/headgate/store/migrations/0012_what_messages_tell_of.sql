-- Which alerts each message tells of, also once an alert is told of by another one. By it is found
-- what a message that is refused holds up, and every attempt at an alert.
CREATE TABLE alert_in_message (
    channel    text NOT NULL,
    message_id text NOT NULL,
    alert_id   text NOT NULL,
    subject    text NOT NULL,
    PRIMARY KEY (alert_id, channel, message_id),
    FOREIGN KEY (channel, message_id) REFERENCES alert_message (channel, id) ON DELETE CASCADE
);
INSERT INTO alert_in_message (channel, message_id, alert_id, subject)
    SELECT DISTINCT m.channel, m.id, one->>'id', one->>'subject'
    FROM alert_message m, jsonb_array_elements(m.content->'alerts') one;
CREATE INDEX alert_in_message_message ON alert_in_message (channel, message_id);

-- What a message was divided into stands where that one stood, in order; null: where it came.
ALTER TABLE alert_message ADD COLUMN place bigint[];
