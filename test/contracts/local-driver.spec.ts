import { execFile } from 'node:child_process';
import { lstat, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { newId } from '../../src/database/id.js';
import { PlaceUnavailableError } from '../../src/environments/drivers/driver-errors.js';
import { LocalDriver } from '../../src/environments/drivers/local-driver.js';
import { guardOfSuite, localDriver } from '../support/local-driver.js';
import { environmentDriverContract } from './environment-driver.contract.js';
import { environmentPlacesContract } from './environment-places.contract.js';

const run = promisify(execFile);
const home = await mkdtemp(join(tmpdir(), 'berth-local-'));
const guard = guardOfSuite(home);
const driver = localDriver(home, guard);
afterAll(() => rm(home, { recursive: true, force: true }));

environmentDriverContract(LocalDriver.name, async () => ({
  driver,
  config: { cwd: join(home, 'somewhere') },
  badConfig: { cwd: 'relative/path' },
}));

environmentPlacesContract(LocalDriver.name, {
  driver: () => localDriver(home, guard),
  config: { cwd: join(home, 'berths'), directory: 'per_lease' },
  editedConfig: { cwd: join(home, 'elsewhere') },
  isThere: ({ directory }) =>
    lstat(directory as string).then(
      () => true,
      () => false,
    ),
  async fill({ cwd }) {
    await run('sh', ['-c', 'for i in $(seq 10); do mkdir $i; (cd $i; seq 100 | xargs touch); done'], { cwd });
  },
});

describe(LocalDriver.name, () => {
  const request = { leaseId: 'l', companyId: 'company-1', workspaceCwd: null, facts: null };
  const never = new AbortController().signal;

  it('gives each company a directory of its own where none is configured', async () => {
    const place = await driver.realise({ ...request, config: {} }, never);
    expect(place).toEqual({ providerLeaseId: null, cwd: join(home, 'workspaces', 'company-1') });
    expect((await stat(place.cwd)).isDirectory()).toBe(true);
  });

  it('refuses a field that it does not know', () => {
    expect(() => driver.validateConfig({ cwd: '/tmp', shell: true })).toThrow(
      expect.objectContaining({ details: [{ field: 'config.shell', message: expect.any(String) }] }),
    );
  });

  it.each(['/srv/../etc', '/srv/./x', '..', 'C:\\x', '/srv/a\0b', '', `/${'x'.repeat(4096)}`])(
    'refuses the directory %j, which does not say where it leads',
    (cwd) => {
      expect(() => driver.validateConfig({ cwd })).toThrow(
        expect.objectContaining({ details: [{ field: 'config.cwd', message: expect.any(String) }] }),
      );
    },
  );

  it('plans nothing to take down where a directory is shared', () => {
    const plan = { placeId: newId(), companyId: newId() };
    expect(driver.planPlace({ ...plan, config: {} })).toBeNull();
    expect(driver.planPlace({ ...plan, config: { cwd: home, directory: 'shared' } })).toBeNull();
  });

  it('refuses a directory that is neither shared nor of each lease', () => {
    expect(() => driver.validateConfig({ directory: 'mine' })).toThrow(
      expect.objectContaining({ details: [{ field: 'config.directory', message: expect.any(String) }] }),
    );
  });

  describe('where a file is in the way of the directory', () => {
    const cwd = join(home, 'a-file', 'below');
    beforeAll(() => writeFile(join(home, 'a-file'), ''));

    it('probes as not usable, and says why', async () => {
      expect(await driver.probe({ cwd })).toMatchObject({
        ok: false,
        summary: `${join(home, 'a-file')} is not a directory`,
      });
    });

    it('cannot be realised', async () => {
      await expect(driver.realise({ ...request, config: { cwd } }, never)).rejects.toThrow(PlaceUnavailableError);
    });
  });
});
