-- A repeat of a request is answered with what the first attempt has done.
CREATE INDEX audit_request ON audit (request_id) WHERE request_id IS NOT NULL;
