import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { ActivityFeed } from './activity-feed.js';
import { ActivityRecorder } from './activity-recorder.js';
import { ActivityStreams } from './activity-streams.js';
import { ActivityController } from './activity.controller.js';
import { ActivityService } from './activity.service.js';
import { IssueActivityController } from './issue-activity.controller.js';
import { RemovedSubjects } from './removed-subjects.js';
import { StreamReader } from './stream-reader.js';
import { VerifyController } from './verify/verify.controller.js';

@Module({
  imports: [CompaniesModule],
  controllers: [ActivityController, IssueActivityController, VerifyController],
  providers: [ActivityRecorder, ActivityService, ActivityFeed, ActivityStreams, StreamReader, RemovedSubjects],
})
export class ActivityModule {}
