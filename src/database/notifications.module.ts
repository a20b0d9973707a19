import { Global, Module } from '@nestjs/common';
import { DatabaseNotifications } from './notifications.js';

@Global()
@Module({ providers: [DatabaseNotifications], exports: [DatabaseNotifications] })
export class NotificationsModule {}
