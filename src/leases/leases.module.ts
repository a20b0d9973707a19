import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { RestoreModule } from '../database/restore/restore.module.js';
import { EnvironmentsModule } from '../environments/environments.module.js';
import { AcquireLeases } from './acquire-leases.js';
import { EndLeases } from './end-leases.js';
import { BeginPlaces } from './places/begin-places.js';
import { CleanUpPlaces } from './places/clean-up-places.js';
import { EnvironmentPlacesController } from './places/environment-places.controller.js';
import { EnvironmentPlacesService } from './places/environment-places.service.js';
import { LeavePlaces } from './places/leave-places.js';
import { PlaceSweeper } from './places/place-sweeper.js';
import { SettlePlaces } from './places/settle-places.js';
import { LeasesController } from './leases.controller.js';
import { LeasesService } from './leases.service.js';
import { RenewLeases } from './renew-leases.js';
import { RevokeLeases } from './revoke-leases.js';

@Module({
  imports: [RestoreModule, CompaniesModule, EnvironmentsModule],
  controllers: [LeasesController, EnvironmentPlacesController],
  providers: [
    AcquireLeases,
    EndLeases,
    RenewLeases,
    RevokeLeases,
    LeasesService,
    BeginPlaces,
    SettlePlaces,
    LeavePlaces,
    CleanUpPlaces,
    EnvironmentPlacesService,
    PlaceSweeper,
  ],
  exports: [
    AcquireLeases,
    EndLeases,
    RenewLeases,
    RevokeLeases,
    LeasesService,
    BeginPlaces,
    SettlePlaces,
    CleanUpPlaces,
  ],
})
export class LeasesModule {}
