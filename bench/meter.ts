import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { cpuTimes } from './processes.ts';

/** What some work took, in all. */
export interface Cost {
  /** Messages that PostgreSQL answered: statements, and those that begin and end transactions. */
  readonly roundTrips: number;
  readonly statements: number;
  /** Transactions that wrote something. */
  readonly commits: number;
  /** Without full-page images, which come with the first change of a page after a checkpoint. */
  readonly walBytes: number;
  readonly fullPageBytes: number;
  readonly serverCpuMs: number;
  readonly postgresCpuMs: number;
  /** Of processes that the server started and that have ended: the agents' own work. */
  readonly childrenCpuMs: number;
}

type Counts = Pick<Cost, 'roundTrips' | 'statements'>;

/** What the statement of a foreign key looks like, when it is checked at commit and counts as one of its own. */
const FOREIGN_KEY = '^SELECT .* FROM ONLY ';
const TRANSACTION = '^(begin|commit|rollback|start transaction|savepoint|release)';

/** Between two looks for whether a record is on disk, in milliseconds. */
const FLUSH_POLL_MS = 20;

/** Counts what work costs PostgreSQL and the processes that use it, from outside. */
export class Meter {
  private readonly watcher: Client;
  private readonly servers: readonly number[];

  /**
   * @param watcher a connection of another user than the work's, whose own statements are not counted.
   * @param servers the processes that do the work, with what they start.
   */
  constructor(watcher: Client, servers: readonly number[]) {
    this.watcher = watcher;
    this.servers = servers;
  }

  async during(work: () => Promise<unknown>): Promise<Cost> {
    const { watcher, postmaster } = await this.postgresPids();
    // PostgreSQL is a child of whoever started it, and is not charged to it.
    const cpu = () => cpuTimes([postmaster, ...this.servers], [postmaster, watcher]);
    const countsBefore = await this.counts();
    const from = await this.walPosition();
    const before = cpu();
    await work();
    const after = cpu();
    const to = await this.walPosition();
    const countsAfter = await this.counts();
    const [postgres, ...servers] = after.map(({ own, ended }, index) => ({
      own: own - before[index].own,
      ended: ended - before[index].ended,
    }));
    return {
      roundTrips: countsAfter.roundTrips - countsBefore.roundTrips,
      statements: countsAfter.statements - countsBefore.statements,
      ...(await this.written(from, to)),
      serverCpuMs: servers.reduce((sum, { own }) => sum + own, 0),
      childrenCpuMs: servers.reduce((sum, { ended }) => sum + ended, 0),
      // Its sessions that have ended are its own work, too.
      postgresCpuMs: postgres.own + postgres.ended,
    };
  }

  private async postgresPids(): Promise<{ watcher: number; postmaster: number }> {
    const { rows } = await this.watcher.query<{ watcher: number; postmaster: string }>(
      `select pg_backend_pid() as watcher, split_part(pg_read_file('postmaster.pid'), e'\\n', 1) as postmaster`,
    );
    return { watcher: rows[0].watcher, postmaster: Number(rows[0].postmaster) };
  }

  private async walPosition(): Promise<string> {
    const { rows } = await this.watcher.query<{ lsn: string }>(`select pg_current_wal_insert_lsn() as lsn`);
    return rows[0].lsn;
  }

  /** What is not on disk cannot be looked at: nobody waits for some records, and they follow within a moment. */
  private async flushed(position: string): Promise<void> {
    const isFlushed = 'select pg_current_wal_flush_lsn() >= $1::pg_lsn as yes';
    while (!(await this.watcher.query<{ yes: boolean }>(isFlushed, [position])).rows[0].yes) await delay(FLUSH_POLL_MS);
  }

  /** As `pg_stat_statements` saw them at the top level: what triggers do inside a statement is part of that. */
  private async counts(): Promise<Counts> {
    const { rows } = await this.watcher.query<{ round_trips: string | null; statements: string | null }>(
      `select sum(calls) as round_trips, sum(calls) filter (where query !~* $1) as statements
       from pg_stat_statements
       where userid <> current_user::regrole and toplevel and query !~ $2
         and dbid = (select oid from pg_database where datname = current_database())`,
      [TRANSACTION, FOREIGN_KEY],
    );
    return { roundTrips: Number(rows[0].round_trips), statements: Number(rows[0].statements) };
  }

  private async written(from: string, to: string): Promise<Pick<Cost, 'commits' | 'walBytes' | 'fullPageBytes'>> {
    // PostgreSQL refuses to look where there is nothing.
    if (from === to) return { commits: 0, walBytes: 0, fullPageBytes: 0 };
    await this.flushed(to);
    const { rows } = await this.watcher.query<Record<'commits' | 'bytes' | 'full_pages', string | null>>(
      `select sum(count) filter (where "resource_manager/record_type" = 'Transaction/COMMIT') as commits,
         sum(record_size) as bytes, sum(fpi_size) as full_pages
       from pg_get_wal_stats($1, $2, true)`,
      [from, to],
    );
    const [{ commits, bytes, full_pages: fullPages }] = rows;
    return { commits: Number(commits), walBytes: Number(bytes), fullPageBytes: Number(fullPages) };
  }
}

/** The sum of costs, to be divided by how often the work was done. */
export function addUp(costs: readonly Cost[]): Cost {
  const sum = (of: keyof Cost) => costs.reduce((all, cost) => all + cost[of], 0);
  return {
    roundTrips: sum('roundTrips'),
    statements: sum('statements'),
    commits: sum('commits'),
    walBytes: sum('walBytes'),
    fullPageBytes: sum('fullPageBytes'),
    serverCpuMs: sum('serverCpuMs'),
    postgresCpuMs: sum('postgresCpuMs'),
    childrenCpuMs: sum('childrenCpuMs'),
  };
}
