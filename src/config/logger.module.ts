import { Module } from '@nestjs/common';
import { LoggerModule as PinoModule } from 'nestjs-pino';
import type { LogFn } from 'pino';
import { BerthConfig } from './config.js';

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

/** One JSON line per entry on the standard output. Requests are not logged: the record of changes is the activity. */
@Module({
  imports: [
    PinoModule.forRootAsync({
      inject: [BerthConfig],
      useFactory: ({ logLevel }: BerthConfig) => ({
        pinoHttp: {
          level: logLevel,
          autoLogging: false,
          quietReqLogger: true,
          hooks: { logMethod },
        },
      }),
    }),
  ],
})
export class LoggerModule {}
