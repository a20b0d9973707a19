import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { validate } from 'uuid';
import { InvalidInputError } from '../errors/domain-error.js';
import { SecretNotFoundError, type SecretUse } from './secret-errors.js';
import { referencesIn, replaceReferences, type SecretReference } from './secret-reference.js';

/** Who has a config that can name secrets. */
export type Holder = { readonly agentId: string } | { readonly environmentId: string };

interface SecretRow {
  id: string;
  name: string;
  latest_version: number;
}

const UNKNOWN = 'names a secret that this company does not have';
const NO_VERSION = 'names a version that this secret does not have';
/** How many uses of a secret are named. */
const SHOWN_USES = 100;

/** Agents that will never run again and environments that are gone use nothing any more. */
const USES = `
  from secret_references r
  left join agents a on a.id = r.agent_id
  left join environments e on e.id = r.environment_id
  where r.secret_id = ? and (a.status <> 'terminated' or (e.id is not null and e.deleted_at is null))`;

/** Keeps who refers to which secret, as the configs of agents and environments say. */
@Injectable()
export class SecretReferences {
  constructor(private readonly em: EntityManager) {}

  /**
   * Looks every reference in a config up, so that it can be kept: a secret that is named is meant by its id. What is found
   * stays until the transaction ends.
   * @returns the config with ids in the place of names.
   * @throws InvalidInputError, SecretNotFoundError for what the company does not have.
   */
  async settle<T>(companyId: string, config: T, path: string): Promise<{ config: T; references: SecretReference[] }> {
    const { found, problems } = referencesIn(config, path);
    if (problems.length > 0) throw new InvalidInputError('A reference to a secret cannot be read', problems);
    if (found.length === 0) return { config, references: [] };
    const secrets = await this.find(companyId, found);
    const idOf = new Map(secrets.flatMap(({ id, name }) => [[id, id] as const, [name, id] as const]));
    const latest = new Map(secrets.map((secret) => [secret.id, secret.latest_version]));
    const references = found.map((reference) => ({
      ...reference,
      secret: idOf.get(validate(reference.secret) ? reference.secret.toLowerCase() : reference.secret) ?? '',
    }));
    const unknown = references.filter(({ secret, version }) => !(latest.get(secret)! >= (version ?? 1)));
    if (unknown.length > 0) {
      throw new SecretNotFoundError(
        unknown.map(({ path: field, secret }) => ({ field, message: secret === '' ? UNKNOWN : NO_VERSION })),
      );
    }
    const byPath = new Map(references.map((reference) => [reference.path, reference.secret]));
    const settled = replaceReferences(config, path, (value, at) =>
      'secretRef' in value ? { ...value, secretRef: byPath.get(at) } : value,
    );
    return { config: settled as T, references };
  }

  /** Writes down what a holder, which is in the database by now, refers to, instead of what it did before. */
  async keep(companyId: string, holder: Holder, references: readonly SecretReference[]): Promise<void> {
    const [column, id] = 'agentId' in holder ? ['agent_id', holder.agentId] : ['environment_id', holder.environmentId];
    await this.em.execute(`delete from secret_references where ${column} = ?`, [id]);
    if (references.length === 0) return;
    await this.em.execute(
      `insert into secret_references (company_id, secret_id, ${column}, path)
       select ?, x.secret, ?, x.path from jsonb_to_recordset(?::jsonb) as x (secret uuid, path text)`,
      [companyId, id, JSON.stringify(references)],
    );
  }

  /** Who uses a secret. */
  usesOf(secretId: string): Promise<SecretUse[]> {
    return this.em.execute<SecretUse[]>(
      `select case when r.agent_id is null then 'environment' else 'agent' end as "targetType",
         coalesce(r.agent_id, r.environment_id) as "targetId", coalesce(a.name, e.name) as name, r.path as "configPath"
       ${USES} order by 1, 2, 4 limit ${SHOWN_USES}`,
      [secretId],
    );
  }

  /** Forgets who named a secret that nobody uses any more. */
  async forget(secretId: string): Promise<void> {
    await this.em.execute('delete from secret_references where secret_id = ?', [secretId]);
  }

  private find(companyId: string, references: readonly SecretReference[]): Promise<SecretRow[]> {
    const named = [...new Set(references.map(({ secret }) => secret))];
    return this.em.execute<SecretRow[]>(
      `select id, name, latest_version from secrets where company_id = ? and deleted_at is null
         and (id in (select value::uuid from jsonb_array_elements_text(?::jsonb))
           or name in (select value from jsonb_array_elements_text(?::jsonb)))
       order by id for key share`,
      [companyId, JSON.stringify(named.filter((one) => validate(one))), JSON.stringify(named)],
    );
  }
}
