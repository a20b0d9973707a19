import { pino } from 'pino';
import { systemActor } from '../events/actor.js';
import { runInScope } from '../events/request-scope.js';
import { Redactor } from '../redaction/redactor.js';
import { RedactorsInUse } from '../redaction/redactors-in-use.js';
import { LoggerModule, redactedOutput, withoutRow } from './logger.module.js';

describe(LoggerModule.name, () => {
  const lines: string[] = [];
  const inUse = new RedactorsInUse();
  const log = pino(
    { serializers: { err: withoutRow } },
    redactedOutput(inUse, { write: (line) => void lines.push(line) }),
  );
  afterEach(() => lines.splice(0));

  it('writes no value that the process knows at that moment, however it comes into a line', () => {
    const redactor = new Redactor(['correct "horse" battery']);
    inUse.add(redactor);
    log.error({ err: new Error('it was correct "horse" battery') }, 'correct "horse" battery');
    inUse.remove(redactor);
    expect(lines[0]).toContain('it was [redacted]');
    expect(lines[0]).not.toContain('horse');
    expect(JSON.parse(lines[0])).toMatchObject({ msg: '[redacted]' });
  });

  it('writes no value of the run that asks, for as long as something is done for it', () => {
    const scope = { actor: systemActor('test'), requestId: null, redactor: new Redactor(['a-value']) };
    runInScope(scope, () => log.error({ url: '/x?y=a-value' }, 'said a-value'));
    log.error('a-value of somebody else');
    expect(JSON.parse(lines[0])).toMatchObject({ url: '/x?y=[redacted]', msg: 'said [redacted]' });
    expect(lines[1]).toContain('a-value');
  });

  it('writes no row that a constraint has refused', () => {
    const refusal = (detail: string) =>
      Object.assign(new Error('refused', { cause: detail }), { detail, code: '23514' });
    log.error({ err: refusal('Failing row contains (1, {"env": {"A": "b"}}).') });
    log.error({ err: refusal('Key (id)=(1) is not present in table "agents".') });
    expect(lines[0]).not.toContain('env');
    expect(lines[0]).toContain('23514');
    expect(lines[1]).toContain('not present');
  });
});
