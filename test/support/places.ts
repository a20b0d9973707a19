import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { Scenario } from './scenario.js';

/** A place as the API shows it. */
export interface Place {
  id: string;
  leaseId: string;
  state: string;
  host: string | null;
  facts: { placeId: string; directory: string };
  providerLeaseId: string | null;
  keepUntil: string | null;
  attempts: number;
  nextAttemptAt: string | null;
  lastError: string | null;
  parkedAt: string | null;
  realiseDeadlineAt: string;
}

/** A company whose runs each have a directory of their own, in one environment. */
export class Berths {
  private constructor(
    readonly user: Scenario,
    readonly companyId: string,
    readonly environmentId: string,
    /** Where the directories are. */
    readonly root: string,
  ) {}

  static async in(url: string, fields: object = {}): Promise<Berths> {
    const user = new Scenario(url);
    const companyId = await user.company();
    const root = await realpath(await mkdtemp(join(tmpdir(), 'berth-places-')));
    const config = { directory: 'per_lease', cwd: root };
    const body = { name: 'Berths', driver: 'local', config, ...fields };
    const answer = await user.api.post<{ id: string }>(`/companies/${companyId}/environments`, body);
    if (answer.status !== 201) throw new Error(`It was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return new Berths(user, companyId, answer.body.id, root);
  }

  agent(script: string, fields: object = {}): Promise<string> {
    return this.user.agent(this.companyId, script, { defaultEnvironmentId: this.environmentId, ...fields });
  }

  /** Newest first. */
  async places(query = ''): Promise<Place[]> {
    return (await this.user.api.get<Place[]>(`/companies/${this.companyId}/environment-places?${query}`)).body;
  }

  async place(id: string): Promise<Place> {
    return (await this.user.api.get<Place>(`/environment-places/${id}`)).body;
  }

  /** The place of a run's lease. */
  async placeOf(runId: string): Promise<Place> {
    const [lease] = await this.user.leases(runId);
    return this.place(lease.placeId!);
  }

  /** Waits until the run's place is in the state. */
  async reached(runId: string, state: string): Promise<Place> {
    await eventually(
      () => this.user.leases(runId),
      (leases) => leases.length > 0,
    );
    return eventually(
      () => this.placeOf(runId),
      (place) => place.state === state,
    );
  }

  act(placeId: string, act: string, body: object = {}) {
    return this.user.api.post<Place & { code: string }>(`/environment-places/${placeId}/${act}`, body);
  }

  /** The directories that there are now. */
  directories(): Promise<string[]> {
    return readdir(this.root);
  }

  /** What the record says of a place, oldest first. */
  async history(placeId: string): Promise<string[]> {
    const path = `/companies/${this.companyId}/activity?entityType=environment_place&entityId=${placeId}`;
    const { body } = await this.user.api.get<{ action: string }[]>(path);
    return body.map(({ action }) => action.replace('environment.place_', '')).reverse();
  }

  remove(): Promise<void> {
    return rm(this.root, { recursive: true, force: true });
  }
}
