import { Global, Module } from '@nestjs/common';
import { IdempotencyKeys } from './idempotency-keys.js';
import { IdempotencySweep } from './idempotency-sweep.js';

@Global()
@Module({
  providers: [IdempotencyKeys, IdempotencySweep],
  exports: [IdempotencyKeys],
})
export class HttpModule {}
