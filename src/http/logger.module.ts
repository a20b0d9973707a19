import { Module } from '@nestjs/common';
import { LoggerModule as PinoModule } from 'nestjs-pino';
import type { LogFn } from 'pino';
import { BerthConfig } from '../config/config.js';
import { currentScope } from '../events/request-scope.js';

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

/** What is logged on behalf of a request carries its id. */
function whose(): object {
  const requestId = currentScope()?.requestId;
  return requestId ? { requestId } : {};
}

/** One JSON line per entry on the standard output. Requests are not logged: the record of changes is the activity. */
@Module({
  imports: [
    PinoModule.forRootAsync({
      inject: [BerthConfig],
      useFactory: ({ logLevel }: BerthConfig) => ({
        pinoHttp: { level: logLevel, hooks: { logMethod }, mixin: whose },
        // It would give each request a logger of its own, whether or not something is logged.
        forRoutes: [],
      }),
    }),
  ],
})
export class LoggerModule {}
