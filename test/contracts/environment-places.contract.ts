import { newId } from '../../src/database/id.js';
import type {
  EnvironmentDriver,
  PlacePlan,
  RealisedPlace,
} from '../../src/environments/drivers/environment-driver.port.js';
import { anyLease } from '../support/local-driver.js';

/** What a driver that makes places brings to the suite. */
export interface PlacesUnderTest {
  /** The driver as another process has it: knows nothing of what was made before. */
  driver(): EnvironmentDriver;
  /** One for which places are planned. */
  config: Record<string, unknown>;
  /** What somebody may have edited it to meanwhile. */
  editedConfig: Record<string, unknown>;
  /** Whether there is anything of the place. */
  isThere(facts: Record<string, unknown>): Promise<boolean>;
  /** Puts so much into a place that taking it down takes a while. */
  fill(place: RealisedPlace): Promise<void>;
}

const never = new AbortController().signal;

/** What every driver promises of the places that it makes, and others take down. */
export function environmentPlacesContract(name: string, tested: PlacesUnderTest): void {
  describe(`${name}: the contract of places`, () => {
    const planned: PlacePlan[] = [];
    afterAll(() => Promise.all(planned.map(({ facts }) => takeDown(facts))));

    function plan(): PlacePlan {
      const request = { placeId: newId(), companyId: newId(), config: tested.config };
      const planOfIt = tested.driver().planPlace(request)!;
      planned.push(planOfIt);
      return planOfIt;
    }

    const realise = (facts: Record<string, unknown>, { signal = never, config = tested.config } = {}) =>
      tested.driver().realise({ leaseId: newId(), companyId: newId(), config, workspaceCwd: null, facts }, signal);

    const takeDown = (facts: Record<string, unknown>, signal = never) => tested.driver().teardown(facts, signal);

    /** What a line of shell that runs in the place prints. */
    async function run(place: RealisedPlace, script: string): Promise<string> {
      let printed = '';
      await tested.driver().execute(place, {
        lease: anyLease(),
        program: 'sh',
        args: ['-c', script],
        env: { PATH: process.env.PATH ?? '' },
        cwd: null,
        graceMs: 1000,
        signal: never,
        onOutput: (_stream, chunk) => void (printed += chunk.toString()),
      });
      return printed;
    }

    describe('planPlace', () => {
      it('gives facts that survive being stored, and makes nothing', async () => {
        const { facts } = plan();
        expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
        expect(await tested.isThere(facts)).toBe(false);
      });

      it('gives each place facts of its own', () => {
        expect(plan().facts).not.toEqual(plan().facts);
      });
    });

    describe('realise', () => {
      it('gives the same place when it is repeated, as the last holder left it', async () => {
        const { facts } = plan();
        const place = await realise(facts);
        expect(place.providerLeaseId).not.toBeNull();
        await run(place, 'echo hello > mark');
        expect(await realise(facts)).toEqual(place);
        expect(await run(place, 'cat mark')).toBe('hello\n');
      });

      it('makes what was planned, whatever the config has become', async () => {
        const { facts } = plan();
        const place = await realise(facts, { config: tested.editedConfig });
        expect(await tested.isThere(facts)).toBe(true);
        expect(await realise(facts)).toEqual(place);
      });

      it('makes nothing once it has been told to stop', async () => {
        const { facts } = plan();
        await expect(realise(facts, { signal: AbortSignal.abort() })).rejects.toThrow();
        expect(await tested.isThere(facts)).toBe(false);
      });
    });

    describe('teardown', () => {
      it('leaves nothing, and says at the second time that there was nothing', async () => {
        const { facts } = plan();
        await run(await realise(facts), 'mkdir -p deep/er; touch deep/er/file .hidden');
        expect(await takeDown(facts)).toBe('removed');
        expect(await tested.isThere(facts)).toBe(false);
        expect(await takeDown(facts)).toBe('absent');
      });

      it('finds nothing where nothing was made', async () => {
        expect(await takeDown(plan().facts)).toBe('absent');
      });

      it('takes down one place and no other', async () => {
        const [one, other] = [plan().facts, plan().facts];
        await Promise.all([realise(one), realise(other)]);
        await takeDown(one);
        expect(await tested.isThere(other)).toBe(true);
      });

      it('can be done by two at once', async () => {
        const { facts } = plan();
        await tested.fill(await realise(facts));
        await Promise.all([takeDown(facts), takeDown(facts)]);
        expect(await tested.isThere(facts)).toBe(false);
      });

      it.each([
        ['begun before it is made', (facts: Record<string, unknown>) => [takeDown(facts), realise(facts)]],
        ['begun while it is made', (facts: Record<string, unknown>) => [realise(facts), takeDown(facts)]],
      ])('leaves nothing when it is repeated, although it was %s', async (_when, both) => {
        const { facts } = plan();
        await Promise.allSettled(both(facts));
        await takeDown(facts);
        expect(await tested.isThere(facts)).toBe(false);
      });

      it.each([0, 1, 2, 5])('takes down what was half made, by something that ended after %d ms', async (ms) => {
        const { facts } = plan();
        await realise(facts, { signal: AbortSignal.timeout(ms) }).catch(() => undefined);
        await takeDown(facts);
        expect(await tested.isThere(facts)).toBe(false);
      });

      it('stops when it is told to, and can be begun again', async () => {
        const { facts } = plan();
        await tested.fill(await realise(facts));
        const stop = new AbortController();
        const stopped = takeDown(facts, stop.signal);
        setTimeout(() => stop.abort(), 5);
        await expect(stopped).rejects.toThrow();
        expect(await tested.isThere(facts)).toBe(true);
        expect(await takeDown(facts)).toBe('removed');
        expect(await tested.isThere(facts)).toBe(false);
      });

      it('does nothing once it has been told to stop', async () => {
        const { facts } = plan();
        await realise(facts);
        await expect(takeDown(facts, AbortSignal.abort())).rejects.toThrow();
        expect(await tested.isThere(facts)).toBe(true);
      });
    });
  });
}
