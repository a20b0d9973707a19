import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { IssueCheckoutService } from './issue-checkout.service.js';
import { IssueCommentsController } from './issue-comments.controller.js';
import { IssueCommentsService } from './issue-comments.service.js';
import { IssuesController } from './issues.controller.js';
import { IssuesService } from './issues.service.js';

@Module({
  imports: [CompaniesModule],
  controllers: [IssuesController, IssueCommentsController],
  providers: [IssueCheckoutService, IssueCommentsService, IssuesService],
  exports: [IssueCommentsService, IssuesService],
})
export class IssuesModule {}
