-- Credentials: keys of operators, and the key that run tokens are signed with.

-- A key is its own record: who made it and who revoked it stand here, because one for the whole instance belongs to no
-- company. Rows are never removed.
create table operator_keys (
  id uuid primary key,
  name text not null check (length(name) between 1 and 200),
  token_hash bytea not null,
  -- The only companies that it can see; null for the whole instance. Companies are never removed.
  company_ids uuid[],
  read_only boolean not null default false,
  -- Given by BERTH_BOOTSTRAP_KEY instead of being made here: such a token does not name its row.
  given boolean not null default false,
  expires_at timestamptz(3),
  created_by text not null,
  created_at timestamptz(3) not null default now(),
  revoked_by text,
  revoked_at timestamptz(3),
  last_used_at timestamptz(3),
  constraint operator_keys_names_companies check (cardinality(company_ids) > 0),
  constraint operator_keys_revoked_by_somebody check ((revoked_at is null) = (revoked_by is null))
);
-- How a given token finds its row: there is at most one that counts.
create unique index operator_keys_one_given on operator_keys (given) where given and revoked_at is null;

-- Every process that starts runs or answers for them has to have it, and this is all that they share. It is no more secret
-- than the rest of the database: a token counts only if its run's row has its hash besides (docs/decisions/0021).
alter table instance add column run_token_key bytea not null
  default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

alter table heartbeat_runs add column token_last_used_at timestamptz(3);
