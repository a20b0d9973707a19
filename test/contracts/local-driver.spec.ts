import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PlaceUnavailableError } from '../../src/environments/drivers/driver-errors.js';
import { LocalDriver } from '../../src/environments/drivers/local-driver.js';
import { localDriver } from '../support/local-driver.js';
import { environmentDriverContract } from './environment-driver.contract.js';

const home = await mkdtemp(join(tmpdir(), 'berth-local-'));
const driver = localDriver(home);
afterAll(() => rm(home, { recursive: true, force: true }));

environmentDriverContract(LocalDriver.name, async () => ({
  driver,
  config: { cwd: join(home, 'somewhere') },
  badConfig: { cwd: 'relative/path' },
}));

describe(LocalDriver.name, () => {
  const request = { leaseId: 'l', companyId: 'company-1', workspaceCwd: null };
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

  it('leaves the directory where it is when the lease ends', async () => {
    const place = await driver.realise({ ...request, config: {} }, never);
    await driver.teardown();
    expect((await stat(place.cwd)).isDirectory()).toBe(true);
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
