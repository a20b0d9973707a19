import { constants as files, existsSync } from 'node:fs';
import { constants as system } from 'node:os';
import { isAbsolute } from 'node:path';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { c } from './libc.ts';

/** A program to start: the first of a new session, its standard input empty. */
export interface Program {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Descriptors that become its standard output and standard error. */
  readonly stdout: number;
  readonly stderr: number;
}

/** How a program has ended: with a code, or by a signal. */
export interface Exit {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

// Of <spawn.h> and <sys/wait.h>, on Linux.
const SETSIGDEF = 0x04;
const SETSID = 0x80;
const WNOHANG = 1;
/** Where `execvp(3)` looks without a PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';
const { EACCES, EINVAL, ENODEV, ENOENT, ENOEXEC, ENOTDIR, ESTALE, ETIMEDOUT } = system.errno;
/** What makes it look further on. */
const PASSED_OVER: readonly number[] = [EACCES, ENODEV, ENOENT, ENOTDIR, ESTALE, ETIMEDOUT];
/** More than any C library takes for one of its structures here (336 bytes, glibc). */
const STRUCTURE_BYTES = 1024;

const spawn = c(
  'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
);
const initActions = c('int posix_spawn_file_actions_init(void *actions)');
const destroyActions = c('int posix_spawn_file_actions_destroy(void *actions)');
const addChdir = c('int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)');
const addOpen = c('int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int, int)');
const addDup2 = c('int posix_spawn_file_actions_adddup2(void *actions, int fd, int newFd)');
const waitPid = c('int waitpid(int pid, _Out_ int *status, int options)');

const actions: unknown = koffi.alloc('char', STRUCTURE_BYTES);
const attributes = inASessionOfItsOwn();
/** Two have a second name, which comes later. */
const signalNames = new Map(
  Object.entries(system.signals)
    .map(([name, signal]): [number, NodeJS.Signals] => [signal, name as NodeJS.Signals])
    .reverse(),
);
const running = new Map<number, (exit: Exit) => void>();

/**
 * Starts a program with `posix_spawn(3)` (POSIX.1-2024; `addchdir` as glibc 2.29 and musl 1.1.24 have it),
 * which lends the child the caller's memory until it has become its program. Node's own `spawn` copies it first, with
 * `fork(2)`, and that costs more than all the rest.
 * @param onExit called once, when it has ended.
 * @returns its pid, which is that of its group and its session.
 * @throws Error with the system's `code` when it cannot be started.
 */
export function startProgram(command: Program, onExit: (exit: Exit) => void): number {
  const { program, args, cwd, env } = command;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  if ([program, cwd, ...args, ...variables].some((text) => text.includes('\0'))) throw failure(program, EINVAL);
  let why = ENOENT;
  for (const path of placesOf(program, env.PATH)) {
    // Only spares the attempt.
    if (!existsSync(isAbsolute(path) ? path : `${cwd}/${path}`)) continue;
    let [error, pid] = spawnAt(path, [program, ...args], variables, command);
    // A script that does not say what it is for.
    if (error === ENOEXEC) [error, pid] = spawnAt('/bin/sh', ['/bin/sh', path, ...args], variables, command);
    if (error === 0) {
      running.set(pid, onExit);
      return pid;
    }
    if (!PASSED_OVER.includes(error)) throw failure(program, error);
    if (why !== EACCES) why = error;
  }
  throw failure(program, why);
}

/** Collects children that have ended, from now on: all that this process has must be of `startProgram`. */
export function collectPrograms(): void {
  process.on('SIGCHLD', collect);
}

/** Where `execvp(3)` looks for it: by the PATH of the child, seen from where that starts. */
function placesOf(program: string, path = DEFAULT_PATH): string[] {
  if (program.includes('/')) return [program];
  return path.split(':').map((directory) => `${directory || '.'}/${program}`);
}

/** @returns the system's error, 0 for none, and the pid. */
function spawnAt(path: string, argv: string[], envp: string[], { cwd, stdout, stderr }: Program): [number, number] {
  const pid = [0];
  prepare(initActions(actions));
  try {
    prepare(addChdir(actions, cwd));
    prepare(addOpen(actions, 0, '/dev/null', files.O_RDONLY, 0));
    prepare(addDup2(actions, stdout, 1));
    prepare(addDup2(actions, stderr, 2));
    const error = spawn(pid, path, actions, attributes, [...argv, null], [...envp, null]);
    return [error, pid[0]];
  } finally {
    destroyActions(actions);
  }
}

/** And with no signal ignored, as Node ignores some. */
function inASessionOfItsOwn(): unknown {
  const made: unknown = koffi.alloc('char', STRUCTURE_BYTES);
  const signals: unknown = koffi.alloc('char', STRUCTURE_BYTES);
  prepare(c('int posix_spawnattr_init(void *attributes)')(made));
  prepare(c('int posix_spawnattr_setflags(void *attributes, short flags)')(made, SETSID | SETSIGDEF));
  prepare(c('int sigfillset(void *signals)')(signals));
  prepare(c('int posix_spawnattr_setsigdefault(void *attributes, void *signals)')(made, signals));
  koffi.free(signals);
  return made;
}

/** One signal can stand for several that have ended. */
function collect(): void {
  const status = [0];
  for (;;) {
    const pid = waitPid(-1, status, WNOHANG);
    if (pid <= 0) return;
    running.get(pid)?.(exitOf(status[0]));
    running.delete(pid);
  }
}

/** By the bits of WIFEXITED, WEXITSTATUS and WTERMSIG; a signal without a name is told by a code, as shells do. */
function exitOf(status: number): Exit {
  const number = status & 0x7f;
  if (number === 0) return { exitCode: (status >> 8) & 0xff, signal: null };
  const signal = signalNames.get(number) ?? null;
  return { exitCode: signal ? null : 128 + number, signal };
}

function failure(program: string, errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`spawn ${program} ${code}`), { code });
}

/** It could only go wrong for want of memory. */
function prepare(error: number): void {
  if (error !== 0) throw new Error(`it could not be prepared: ${getSystemErrorName(-error)}`);
}
