import { accessSync, constants as files, existsSync, statSync } from 'node:fs';
import { constants as system } from 'node:os';
import { resolve } from 'node:path';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

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

// Of <spawn.h>, <fcntl.h> and <sys/wait.h>, where Linux and macOS agree unless they are told apart.
const SETSIGDEF = 0x04;
const SETSID = process.platform === 'darwin' ? 0x400 : 0x80;
const F_SETFL = 4;
const WNOHANG = 1;
/** Where `execvp(3)` looks without a PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';
/** More than any C library takes for one of its structures here (336 bytes, glibc). */
const STRUCTURE_BYTES = 1024;

const libc = koffi.load(null);
const spawn = libc.func(
  'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
);
const initActions = libc.func('int posix_spawn_file_actions_init(void *actions)');
const destroyActions = libc.func('int posix_spawn_file_actions_destroy(void *actions)');
const addChdir = libc.func('int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)');
const addOpen = libc.func('int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int, int)');
const addDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int newFd)');
const waitPid = libc.func('int waitpid(int pid, _Out_ int *status, int options)');
const fcntl = libc.func('int fcntl(int fd, int command, ...)');

const actions: unknown = koffi.alloc('char', STRUCTURE_BYTES);
const attributes = inASessionOfItsOwn();
const signalNames = new Map(Object.entries(system.signals).map(([name, signal]) => [signal, name as NodeJS.Signals]));
const running = new Map<number, (exit: Exit) => void>();

/**
 * Starts a program with `posix_spawn(3)` (POSIX.1-2024; `addchdir` as glibc 2.29, musl 1.1.24 and macOS 10.15 have it),
 * which lends the child the caller's memory until it has become its program. Node's own `spawn` copies it first, with
 * `fork(2)`, and that costs more than all the rest.
 * @param onExit called once, when it has ended.
 * @returns its pid, which is that of its group and its session.
 * @throws Error with the system's `code` when it cannot be started.
 */
export function startProgram(command: Program, onExit: (exit: Exit) => void): number {
  const { program, args, cwd, env } = command;
  const path = locate(program, cwd, env.PATH);
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  if ([path, cwd, ...args, ...variables].some((text) => text.includes('\0'))) {
    throw failure(program, system.errno.EINVAL);
  }
  let [error, pid] = call(command, path, [program, ...args], variables);
  // A script that does not say what it is for, as `execvp(3)` has it.
  if (error === system.errno.ENOEXEC) [error, pid] = call(command, '/bin/sh', ['/bin/sh', path, ...args], variables);
  if (error !== 0) throw failure(program, error);
  running.set(pid, onExit);
  return pid;
}

function call({ cwd, stdout, stderr }: Program, path: string, argv: string[], envp: string[]): [number, number] {
  // Node's own are never waited for; a program expects that it may wait.
  for (const fd of [stdout, stderr]) fcntl(fd, F_SETFL, 'int', 0);
  const pid = [0];
  initActions(actions);
  try {
    addChdir(actions, cwd);
    addOpen(actions, 0, '/dev/null', files.O_RDONLY, 0);
    addDup2(actions, stdout, 1);
    addDup2(actions, stderr, 2);
    const error = spawn(pid, path, actions, attributes, [...argv, null], [...envp, null]) as number;
    return [error, pid[0]];
  } finally {
    destroyActions(actions);
  }
}

/** As `execvp(3)` finds it: by the PATH of the child, seen from where that starts. */
function locate(program: string, cwd: string, path = DEFAULT_PATH): string {
  if (program.includes('/')) return program;
  const places = path.split(':').map((directory) => resolve(cwd, directory, program));
  return places.find(isExecutable) ?? places.find(existsSync) ?? places[0];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, files.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** And with no signal ignored, as Node ignores some. */
function inASessionOfItsOwn(): unknown {
  const made: unknown = koffi.alloc('char', STRUCTURE_BYTES);
  const signals: unknown = koffi.alloc('char', STRUCTURE_BYTES);
  libc.func('int posix_spawnattr_init(void *attributes)')(made);
  libc.func('int posix_spawnattr_setflags(void *attributes, short flags)')(made, SETSID | SETSIGDEF);
  libc.func('int sigfillset(void *signals)')(signals);
  libc.func('int posix_spawnattr_setsigdefault(void *attributes, void *signals)')(made, signals);
  koffi.free(signals);
  return made;
}

/** All children of this process are its own: one signal can stand for several that have ended. */
function collect(): void {
  const status = [0];
  for (;;) {
    const pid = waitPid(-1, status, WNOHANG) as number;
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

process.on('SIGCHLD', collect);
