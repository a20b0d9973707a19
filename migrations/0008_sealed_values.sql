-- What a run that executes must not show, sealed with a key that is made of its token: whoever is shown the token can open
-- it, and nobody after the run, of whose token only a hash is kept.
alter table heartbeat_runs add column sealed_values bytea;
