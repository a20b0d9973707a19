-- What a company may have at most; null for any number. Agents and environments are counted under the lock of the company's
-- row by who adds one; runs that wait to start by who queues one.
alter table companies
  add column max_agents integer default 10000 check (max_agents > 0),
  add column max_environments integer default 1000 check (max_environments > 0),
  add column max_queued_runs integer default 10000 check (max_queued_runs > 0);
