import { DomainError, TooManyError } from '../../errors/domain-error.js';

const RETRY_STREAM_SEC = 10;

/** One caller asks more often than it may. */
export class TooManyRequestsError extends TooManyError {
  readonly code = 'too_many_requests';

  constructor(whose: 'key' | 'address', perMinute: number, retryAfterSec: number) {
    super(`More than ${perMinute} requests in a minute came from this ${whose}`, retryAfterSec, { perMinute });
  }
}

/** Streams end by themselves within minutes, so that a place becomes free. */
export class TooManyStreamsError extends TooManyError {
  readonly code = 'too_many_streams';

  constructor(whose: 'this caller' | 'this server', limit: number) {
    super(`No more than ${limit} streams are open for ${whose} at once: close one first`, RETRY_STREAM_SEC, { limit });
  }
}

/** A name in `Host` that this server does not have: a page that had its own name point here would use one. */
export class UnknownHostError extends DomainError {
  readonly kind = 'misdirected';
  readonly code = 'unknown_host';

  constructor() {
    super('This server does not answer to the name in the Host header: use a loopback address, or BERTH_PUBLIC_URL');
  }
}

/** A page of another site asks a browser to change something here. */
export class ForeignOriginError extends DomainError {
  readonly kind = 'forbidden';
  readonly code = 'foreign_origin';

  constructor() {
    super('A web page of another site may not change anything here');
  }
}
