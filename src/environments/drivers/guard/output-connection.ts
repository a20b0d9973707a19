import { closeSync, writeSync } from 'node:fs';
import { c, succeeded } from './libc.ts';

// Of <sys/socket.h>, <sys/un.h> and <fcntl.h>, on Linux.
const AF_UNIX = 1;
const SOCK_STREAM = 0x1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const F_SETFL = 4;
const PATH_BYTES = 108;

const socket = c('int socket(int domain, int type, int protocol)');
const connect = c('int connect(int fd, const void *address, unsigned int length)');
const fcntl = c('int fcntl(int fd, int command, ...)');

/**
 * A connection that a program can have as its output, and that says first which one it is: nobody else reads or writes it
 * here. Never waits: a runner that does not take connections must not keep the guard from its deadlines.
 * @returns its descriptor, for the caller to close.
 * @throws Error when nobody listens there, or too many connections have not been taken yet.
 */
export function connectOutput(path: string, header: string): number {
  let fd: number | null = null;
  try {
    fd = succeeded(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const address = addressOf(path);
    succeeded(connect(fd, address, address.length));
    // A program expects that its output waits.
    succeeded(fcntl(fd, F_SETFL, 'int', 0));
    writeSync(fd, header);
    return fd;
  } catch (error) {
    if (fd !== null) closeSync(fd);
    throw new Error(`its output cannot be received: ${(error as Error).message}`, { cause: error });
  }
}

/** A `struct sockaddr_un`. */
function addressOf(path: string): Buffer {
  const family = Buffer.from(new Uint16Array([AF_UNIX]).buffer);
  const name = Buffer.alloc(PATH_BYTES);
  name.write(path);
  return Buffer.concat([family, name]);
}
