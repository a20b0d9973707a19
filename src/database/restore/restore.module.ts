import { Module } from '@nestjs/common';
import { DatabaseWatch } from './database-watch.js';
import { Quarantine } from './quarantine.js';

@Module({ providers: [DatabaseWatch, Quarantine], exports: [DatabaseWatch, Quarantine] })
export class RestoreModule {}
