-- What a run that executes must not show, sealed with a key that is made of its token: whoever is shown the token can open
-- it, and nobody after the run, of whose token only a hash is kept.
alter table heartbeat_runs add column sealed_values bytea;

-- Callers choose keys, and may have put anything into them: from now on only their hash is kept.
update idempotency_keys set key = encode(sha256(convert_to(key, 'UTF8')), 'hex');
