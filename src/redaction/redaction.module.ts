import { Global, Module } from '@nestjs/common';
import { RedactorsInUse } from './redactors-in-use.js';

@Global()
@Module({ providers: [RedactorsInUse], exports: [RedactorsInUse] })
export class RedactionModule {}
