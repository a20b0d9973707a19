import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { RestoreModule } from '../database/restore/restore.module.js';
import { CarryOut } from './carry-out.js';
import { CompanyRetentionController } from './company-retention.controller.js';
import { CompanyRetentionService } from './company-retention.service.js';
import { DueRemovals } from './due-removals.js';
import { OldestDue } from './oldest-due.js';
import { Passes } from './passes.js';
import { Removals } from './removals.js';
import { RemoveActivity } from './remove-activity.js';
import { RemoveReservations } from './remove-reservations.js';
import { RemoveRunLogs } from './remove-run-logs.js';
import { RemoveRuns } from './remove-runs.js';
import { RemoveWakes } from './remove-wakes.js';
import { RetentionSweeper } from './retention-sweeper.js';
import { StorageController } from './storage.controller.js';
import { StorageService } from './storage.service.js';
import { TokenFloor } from './token-floor.js';

const REMOVE = [Removals, TokenFloor, RemoveRuns, RemoveReservations, RemoveWakes, RemoveRunLogs, RemoveActivity];
const SWEEP = [RetentionSweeper, CarryOut, DueRemovals, OldestDue, Passes];
const READ = [StorageService, CompanyRetentionService];

@Module({
  imports: [RestoreModule, CompaniesModule],
  controllers: [StorageController, CompanyRetentionController],
  providers: [...REMOVE, ...SWEEP, ...READ],
})
export class RetentionModule {}
