/** A group to end at a deadline of the boot clock, or when the runner is gone. */
export interface Hold {
  readonly leaseId: string;
  deadline: number;
  /** Null before the group's leader has started. */
  groupId: number | null;
  startTime: string | null;
}

/** A command to start as the leader of a process group of its own. */
export interface StartMessage {
  readonly type: 'start';
  /** Names the command from here on. Nobody else can guess it: whoever knows it can speak for the command. */
  readonly id: string;
  readonly leaseId: string;
  readonly deadline: number;
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What a runner says to its guard. */
export type GuardMessage =
  | StartMessage
  /** The lease has been renewed. */
  | { readonly type: 'extend'; readonly leaseId: string; readonly deadline: number }
  /** The group of a command whose leader left others behind has ended. */
  | { readonly type: 'release'; readonly id: string }
  | { readonly type: 'ping' };

export interface ExitReport {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether the group has ended with its leader; then it is held no longer. */
  readonly groupHasEnded: boolean;
}

export interface FailureReport {
  /** Of the system's error that kept the program from starting; null for what went wrong around it. */
  readonly code: string | null;
  readonly message: string;
}

/** What a guard says to its runner: of each command that it has started, or that it failed; then how it ended. */
export type GuardReport =
  | { readonly type: 'started'; readonly id: string; readonly groupId: number; readonly startTime: string | null }
  | ({ readonly type: 'failed'; readonly id: string } & FailureReport)
  | ({ readonly type: 'exited'; readonly id: string } & ExitReport)
  | { readonly type: 'pong' };

export type OutputName = 'stdout' | 'stderr';

/** What the guard writes on the connection for one stream of a command, before the program itself writes there. */
export const outputHeader = (id: string, name: OutputName): string => `${id} ${name}\n`;
