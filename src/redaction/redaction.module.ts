import { Module } from '@nestjs/common';
import { RedactorsInUse } from './redactors-in-use.js';

@Module({ providers: [RedactorsInUse], exports: [RedactorsInUse] })
export class RedactionModule {}
