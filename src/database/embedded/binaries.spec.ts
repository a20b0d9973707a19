import { chmod, cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { accountFor, canUse } from './account.js';
import { copyFor, locateBinaries } from './binaries.js';

const account = await accountFor('/none');
const asRoot = account ? describe : describe.skip;

asRoot(copyFor.name, () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'berth-copy-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('copies programs out of a project that only root may enter, once', async () => {
    if (!account) return;
    const { postgres } = await locateBinaries(null);
    const original = path.resolve(postgres, '../..');
    const closed = path.join(folder, 'closed');
    await mkdir(path.join(closed, 'native/bin'), { recursive: true, mode: 0o700 });
    await cp(path.join(original, '../package.json'), path.join(closed, 'package.json'));
    const names = { initdb: 'initdb', postgres: 'postgres', pgCtl: 'pg_ctl' };
    const binaries = { initdb: '', postgres: '', pgCtl: '' };
    for (const [key, name] of Object.entries(names) as [keyof typeof names, string][]) {
      binaries[key] = path.join(closed, 'native/bin', name);
      await cp(path.join(original, 'bin', name), binaries[key]);
    }
    // The test's own folder is open, as /var/lib is.
    const copies = await mkdtemp(path.join(tmpdir(), 'berth-copies-'));
    try {
      await chmod(copies, 0o755);
      expect(await canUse(account, binaries.postgres)).toBe(false);
      const both = await Promise.all([copyFor(account, binaries, copies), copyFor(account, binaries, copies)]);
      expect(await canUse(account, both[0].postgres)).toBe(true);
      expect(both[1]).toEqual(both[0]);
      expect(await readdir(copies)).toHaveLength(1);
    } finally {
      await rm(copies, { recursive: true, force: true });
    }
  });
});
