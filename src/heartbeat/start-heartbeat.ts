import type { INestApplication } from '@nestjs/common';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { BerthConfig } from '../config/config.js';
import { PlaceSweeper } from '../leases/places/place-sweeper.js';
import { ExecutionServer } from './execution/execution.server.js';
import { Reaper } from './ending/reaper.js';
import { Runner } from './execution/runner.js';
import { Waits } from './waiting/waits.js';
import { Timers } from './wakes/timers.js';

/** Puts the execution handler behind its transport; before the application's microservices are started. */
export function connectExecution(app: INestApplication): void {
  app.connectMicroservice<MicroserviceOptions>({ strategy: app.get(ExecutionServer) });
}

/** Begins to recover what others left, and to execute runs if this process has that role; once it listens. */
export function startHeartbeat(app: INestApplication): void {
  app.get(Reaper).start();
  app.get(PlaceSweeper).start();
  app.get(Timers).start();
  app.get(Waits).start();
  if (app.get(BerthConfig).roles.has('runner')) app.get(Runner).start();
}
