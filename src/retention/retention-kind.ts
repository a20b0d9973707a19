import type { RetentionDays } from '../config/config.js';

/** What has a retention of its own. */
export const RETENTION_KINDS = ['activity', 'runs', 'runLogs'] as const;
export type RetentionKind = (typeof RETENTION_KINDS)[number];

/** The setting of each kind. */
export const SETTING_OF = {
  activity: 'activityDays',
  runs: 'runDays',
  runLogs: 'runLogDays',
} as const satisfies Record<RetentionKind, keyof RetentionDays>;
