import { chmod, chown, lstat, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '../../src/database/id.js';
import { CommandNotStartedError, PlaceUnavailableError } from '../../src/environments/drivers/driver-errors.js';
import type { LocalDriver } from '../../src/environments/drivers/local-driver.js';
import { workingDirectory } from '../../src/environments/drivers/working-directory.js';
import { localDriver } from '../support/local-driver.js';

const NOBODY = 65_534;
const never = new AbortController().signal;

describe("a lease's own directory", () => {
  let home: string;
  let root: string;
  let driver: LocalDriver;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-directory-'));
    root = join(home, 'berths');
    await mkdir(root);
    driver = localDriver(home);
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  const config = () => ({ cwd: root, directory: 'per_lease' });
  const realise = (facts: Record<string, unknown>) =>
    driver.realise({ leaseId: 'l', companyId: 'c', config: config(), workspaceCwd: null, facts }, never);
  const factsOf = (placeId = newId()) => ({ placeId, directory: join(root, placeId) });

  it('is named after its place, on this host', () => {
    const placeId = newId();
    const { facts, host } = driver.planPlace({ placeId, companyId: 'c', config: config() })!;
    expect(facts).toEqual(factsOf(placeId));
    expect(host).toMatch(/./);
  });

  it('is taken down without what its links lead to', async () => {
    const facts = factsOf();
    const outside = join(home, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'precious'), '');
    await realise(facts);
    await symlink(outside, join(facts.directory, 'way-out'));
    expect(await driver.teardown(facts, never)).toBe('removed');
    expect(await readdir(outside)).toEqual(['precious']);
  });

  it('is not left by a link that somebody has put into it', async () => {
    const facts = factsOf();
    const place = await realise(facts);
    const outside = join(home, 'outside');
    await mkdir(outside);
    await symlink(outside, join(facts.directory, 'way-out'));
    await mkdir(join(facts.directory, 'inside'));
    await symlink('inside', join(facts.directory, 'way-in'));
    await expect(workingDirectory(place, 'way-out')).rejects.toThrow(CommandNotStartedError);
    expect(await workingDirectory(place, 'way-in')).toBe(join(facts.directory, 'way-in'));
    // A directory that several share is its owner's to arrange.
    expect(await workingDirectory({ ...place, providerLeaseId: null }, 'way-out')).toBe(
      join(facts.directory, 'way-out'),
    );
  });

  it('that somebody has replaced by a link is not used, and only the link removed', async () => {
    const facts = factsOf();
    const outside = join(home, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'precious'), '');
    await symlink(outside, facts.directory);
    await expect(realise(facts)).rejects.toThrow(PlaceUnavailableError);
    expect(await driver.teardown(facts, never)).toBe('removed');
    await expect(lstat(facts.directory)).rejects.toThrow('ENOENT');
    expect(await readdir(outside)).toEqual(['precious']);
  });

  it('is its user’s alone again, whatever the former holder made of it', async () => {
    const facts = factsOf();
    await realise(facts);
    await chmod(facts.directory, 0o777);
    await realise(facts);
    expect((await lstat(facts.directory)).mode & 0o777).toBe(0o700);
  });

  it.each([
    ['another name', () => ({ placeId: newId(), directory: join(root, newId()) })],
    ['a relative path', () => ({ ...factsOf(), directory: 'berths' })],
    ['a way up', () => ({ placeId: '..', directory: join(root, '..') })],
    ['a path that is not in its plain form', (id = newId()) => ({ placeId: id, directory: `${root}/x/../${id}` })],
    ['the root', () => ({ placeId: '', directory: '/' })],
    ['nothing', () => ({})],
  ])('is not looked for under facts with %s', async (_what, facts) => {
    await expect(driver.teardown(facts(), never)).rejects.toThrow("not the facts of a place's directory");
    await expect(realise(facts())).rejects.toThrow("not the facts of a place's directory");
  });

  it('is taken down with directories that not even their owner may write in', async () => {
    const asRoot = process.geteuid!() === 0;
    const facts = factsOf();
    await chmod(home, 0o711);
    if (asRoot) await chown(root, NOBODY, NOBODY);
    if (asRoot) process.seteuid!(NOBODY);
    try {
      await realise(facts);
      await mkdir(join(facts.directory, 'cache'));
      await writeFile(join(facts.directory, 'cache', 'module'), '');
      await chmod(join(facts.directory, 'cache'), 0o500);
      expect(await driver.teardown(facts, never)).toBe('removed');
    } finally {
      if (asRoot) process.seteuid!(0);
    }
    expect(await readdir(root)).toEqual([]);
  });

  it('that cannot be taken down is an error that says why', async () => {
    const asRoot = process.geteuid!() === 0;
    const facts = factsOf();
    await realise(facts);
    await chmod(home, 0o711);
    await chmod(root, 0o555);
    if (asRoot) process.seteuid!(NOBODY);
    try {
      await expect(driver.teardown(facts, never)).rejects.toThrow(/[Pp]ermission denied/);
    } finally {
      if (asRoot) process.seteuid!(0);
      await chmod(root, 0o755);
    }
    expect(await readdir(root)).toEqual([facts.placeId]);
  });
});
