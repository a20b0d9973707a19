-- Secrets: values that agents are given and nobody is shown. Only their ciphertext is here.

-- One row, made by whoever needs a key first: the id of the key that values are encrypted with. A process that has another
-- key learns it here, and writers hold the row, so that nothing is written under a key that was just taken out of use.
create table secrets_key (
  id boolean primary key default true check (id),
  key_id text not null,
  created_at timestamptz(3) not null default now(),
  rotated_at timestamptz(3)
);

create table secrets (
  id uuid primary key,
  company_id uuid not null references companies (id),
  name text not null check (length(name) between 1 and 200),
  description text,
  latest_version integer not null default 1 check (latest_version > 0),
  rotated_at timestamptz(3),
  -- The row stays, because the record names it; its values do not.
  deleted_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint secrets_company_unique unique (company_id, id)
);
create unique index secrets_name_unique on secrets (company_id, name) where deleted_at is null;

create table secret_versions (
  company_id uuid not null,
  secret_id uuid not null,
  version integer not null check (version > 0),
  key_id text not null,
  nonce bytea not null check (octet_length(nonce) = 12),
  -- With the tag of 16 bytes at its end.
  ciphertext bytea not null check (octet_length(ciphertext) > 16),
  created_at timestamptz(3) not null default now(),
  primary key (secret_id, version),
  constraint secret_versions_secret_fk foreign key (company_id, secret_id) references secrets (company_id, id),
  -- Two values under one key and nonce would give both away.
  constraint secret_versions_nonce_once unique (key_id, nonce)
);

-- Who refers to a secret, as their configs say: one in use cannot be deleted, and whoever deletes one holds its row
-- against new references.
create table secret_references (
  company_id uuid not null,
  secret_id uuid not null,
  agent_id uuid,
  environment_id uuid,
  -- Where in the holder, for example adapterConfig.env.TOKEN.
  path text not null,
  constraint secret_references_one_holder check (num_nonnulls(agent_id, environment_id) = 1),
  constraint secret_references_once unique nulls not distinct (agent_id, environment_id, path),
  constraint secret_references_secret_fk foreign key (company_id, secret_id) references secrets (company_id, id),
  constraint secret_references_agent_fk foreign key (company_id, agent_id) references agents (company_id, id),
  constraint secret_references_environment_fk
    foreign key (company_id, environment_id) references environments (company_id, id)
);
create index secret_references_secret on secret_references (secret_id);
create index secret_references_environment on secret_references (environment_id) where environment_id is not null;
