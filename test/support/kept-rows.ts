import type { Client } from 'pg';

/** What is noted on a row whatever its credential was used for. */
const NOTED_ON_USE: Readonly<Record<string, string>> = {
  agent_api_keys: 'last_used_at',
  heartbeat_runs: 'token_last_used_at',
  operator_keys: 'last_used_at',
};

/** Which rows of a table are of company $1; of tables that have no company, none. */
const OWN: Readonly<Record<string, string>> = {
  companies: 'id = $1',
  heartbeat_run_log_chunks: 'run_id in (select id from heartbeat_runs where company_id = $1)',
};

interface Table {
  readonly name: string;
  readonly owned: boolean;
}

/** Tells whether anything at all was written: to any row of any table, or to those of one company. */
export class KeptRows {
  private constructor(
    private readonly client: Client,
    private readonly digests: string,
    private readonly parameters: string[],
  ) {}

  static async in(client: Client, companyId?: string): Promise<KeptRows> {
    const { rows: tables } = await client.query<Table>(
      `select relname as name, exists (select 1 from pg_attribute
           where attrelid = c.oid and attname = 'company_id' and not attisdropped) as owned
       from pg_class c where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace
       order by 1`,
    );
    const digests = tables.map((table) => `'${table.name}', (${digestOf(table, companyId !== undefined)})`);
    const parameters = companyId === undefined ? [] : [companyId];
    return new KeptRows(client, `select jsonb_build_object(${digests.join(', ')}) as kept`, parameters);
  }

  /** In short, by table: the same again only if nothing was added, changed or taken away. */
  async read(): Promise<Record<string, string>> {
    const { rows } = await this.client.query<{ kept: Record<string, string> }>({
      name: 'kept-rows',
      text: this.digests,
      values: this.parameters,
    });
    return rows[0].kept;
  }
}

/** Whatever is written has a younger transaction than all there was; where uses are noted besides, all else is compared. */
function digestOf({ name, owned }: Table, ofOneCompany: boolean): string {
  const onUse = NOTED_ON_USE[name];
  const digest = onUse
    ? `md5(string_agg((to_jsonb(t) - '${onUse}')::text, '' order by t.id))`
    : `concat(count(*), ' ', max(t.xmin::text::bigint))`;
  const rows = ofOneCompany ? (OWN[name] ?? (owned ? 'company_id = $1' : 'false')) : 'true';
  return `select ${digest} from ${name} t where ${rows}`;
}
