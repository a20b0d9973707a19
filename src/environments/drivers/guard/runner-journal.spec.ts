import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JournalWriter, parseJournal, type HeldGroup } from './runner-journal.js';

describe(JournalWriter.name, () => {
  const owner = { bootId: 'boot', runner: { pid: 1, startTime: '1' }, guardPid: 2 };
  const group = (groupId: number | null): HeldGroup => ({ leaseId: 'lease', groupId, startTime: null });
  let home: string;
  let file: string;
  let held: Map<string, HeldGroup>;
  let writer: JournalWriter;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-journal-'));
    file = join(home, 'runners', 'runner-1.json');
    held = new Map();
    writer = new JournalWriter(file, owner, held);
  });
  afterEach(() => rm(home, { recursive: true }));

  const text = () => readFile(file, 'utf8');
  const read = async () => parseJournal(await text());
  function note(id: string, now: HeldGroup | null): void {
    if (now) held.set(id, now);
    else held.delete(id);
    writer.note(id);
  }

  it('has on record what is held now', async () => {
    writer.begin();
    expect(await read()).toEqual({ ...owner, groups: [] });
    note('one', group(null));
    note('two', group(2));
    expect((await read()).groups).toEqual([group(null), group(2)]);
    note('one', group(1));
    note('two', null);
    expect(await read()).toEqual({ ...owner, groups: [group(1)] });
  });

  it('has it also when its last line was not finished', async () => {
    note('one', group(1));
    await appendFile(file, '{"id":"one","hel');
    expect((await read()).groups).toEqual([group(1)]);
  });

  it('does not grow for ever', async () => {
    note('one', group(1));
    for (let i = 0; i < 3000; i++) {
      note('two', group(2));
      note('two', null);
    }
    expect((await text()).split('\n').length).toBeLessThan(1100);
    expect((await read()).groups).toEqual([group(1)]);
  });
});
