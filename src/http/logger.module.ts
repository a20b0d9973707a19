import { Module } from '@nestjs/common';
import { LoggerModule as PinoModule } from 'nestjs-pino';
import { destination, stdSerializers, type DestinationStream, type LogFn } from 'pino';
import { BerthConfig } from '../config/config.js';
import { currentScope } from '../events/request-scope.js';
import { RedactionModule } from '../redaction/redaction.module.js';
import { RedactorsInUse } from '../redaction/redactors-in-use.js';

/** What Nest tells about its own assembly: hundreds of lines that say nothing to an operator. */
const ASSEMBLY = new Set([
  'InstanceLoader',
  'NestApplication',
  'NestFactory',
  'RouterExplorer',
  'RoutesResolver',
  'NestMicroservice',
]);
const INFO = 30;

function logMethod(this: ThisType<unknown>, args: Parameters<LogFn>, method: LogFn, level: number): void {
  const [first] = args as unknown[];
  const context = first !== null && typeof first === 'object' && 'context' in first ? first.context : undefined;
  if (level <= INFO && typeof context === 'string' && ASSEMBLY.has(context)) return;
  method.apply(this as never, args);
}

/** Takes the values out of each line that this process knows at that moment, and those of the run that asks. */
export function redactedOutput(redactors: RedactorsInUse, output: DestinationStream): DestinationStream {
  return {
    write(line) {
      const redacted = redactors.text(line);
      output.write(currentScope()?.redactor?.text(redacted) ?? redacted);
    },
  };
}

/** PostgreSQL shows the whole row that a constraint refuses, and that can hold a plain variable. */
export function withoutRow(error: Error): object {
  const { detail, ...rest } = stdSerializers.err(error) as { detail?: unknown };
  return typeof detail === 'string' && !detail.startsWith('Failing row contains') ? { ...rest, detail } : rest;
}

/** What is logged on behalf of a request carries its id. */
function whose(): object {
  const requestId = currentScope()?.requestId;
  return requestId ? { requestId } : {};
}

/** One JSON line per entry on the standard output. Requests are not logged: the record of changes is the activity. */
@Module({
  imports: [
    PinoModule.forRootAsync({
      imports: [RedactionModule],
      inject: [BerthConfig, RedactorsInUse],
      useFactory: ({ logLevel }: BerthConfig, redactors: RedactorsInUse) => ({
        pinoHttp: [
          { level: logLevel, hooks: { logMethod }, mixin: whose, serializers: { err: withoutRow } },
          redactedOutput(redactors, destination({ fd: 1, sync: true })),
        ],
        // It would give each request a logger of its own, whether or not something is logged.
        forRoutes: [],
      }),
    }),
  ],
})
export class LoggerModule {}
