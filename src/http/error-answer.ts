import { HttpException } from '@nestjs/common';
import { isConnectionLost } from '../database/database-errors.js';
import { DomainError, TooManyError, type DomainErrorKind } from '../errors/domain-error.js';
import type { ErrorResponse } from './error-response.dto.js';

/** How an error is answered over HTTP. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: ErrorResponse;
  /** When the caller may try again, in seconds, where that is likely to help. */
  readonly retryAfterSec?: number;
  /** Whether somebody should look at it: nobody meant this error to reach a caller. */
  readonly unexpected: boolean;
}

const STATUS_OF_KIND: Record<DomainErrorKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  gone: 410,
  misdirected: 421,
  unacceptable: 422,
  too_many: 429,
  unavailable: 503,
};

/** Refusals by the framework, before any handler of ours: its own sentences are written for programmers. */
const FRAMEWORK_REFUSALS: Record<number, ErrorResponse> = {
  400: {
    error: 'The request is malformed: its body has to be valid JSON, and its path properly encoded',
    code: 'malformed_request',
  },
  404: { error: 'There is no such route; the routes are listed under /docs', code: 'unknown_route' },
  405: { error: 'This route does not take that method', code: 'method_not_allowed' },
  408: { error: 'The request did not arrive in time', code: 'request_timeout' },
  413: { error: 'The request body is too large', code: 'body_too_large' },
  414: { error: 'The address, or a part of its path, is too long', code: 'path_too_long' },
  415: {
    error: 'The request body has to be JSON: send the header Content-Type: application/json',
    code: 'unsupported_media_type',
  },
  431: { error: 'The headers of the request are too large', code: 'headers_too_large' },
  503: { error: 'The server is shutting down', code: 'shutting_down' },
};

/** When a caller may try again what the server could not do just now, in seconds. */
const SHORTLY_SEC = 1;

/** SQLSTATEs that nobody mapped to a domain error, from the most to the least specific. */
const DATABASE_REFUSALS = [
  { state: /^(40001|40P01|55P03|57014)$/, status: 503, code: 'busy', error: 'The database is busy; try again' },
  {
    state: /^(23505|23P01)$/,
    status: 409,
    code: 'conflict',
    error: 'This conflicts with something that exists already',
  },
  {
    state: /^23503$/,
    status: 422,
    code: 'broken_reference',
    error: 'This refers to what does not exist, or is in use',
  },
  { state: /^23...$/, status: 422, code: 'unacceptable', error: 'This is not acceptable in the current state' },
  {
    state: /^22...$/,
    status: 400,
    code: 'invalid_input',
    error: 'Invalid input: a value has a form that cannot be kept',
  },
];

const UNREACHABLE: ErrorResponse = { error: 'The database cannot be reached; try again', code: 'database_unavailable' };
const OUR_FAULT: ErrorResponse = {
  error: 'Something went wrong on our side; the X-Request-Id of this answer finds it in the log',
  code: 'internal',
};

/** Decides how an error is answered. Nothing of an error that we did not write ourselves goes into the answer. */
export function answerTo(error: unknown): ErrorAnswer {
  const answer = statusAndBody(error);
  if (error instanceof TooManyError) return { ...answer, retryAfterSec: error.retryAfterSec };
  return answer.status === 503 ? { ...answer, retryAfterSec: SHORTLY_SEC } : answer;
}

function statusAndBody(error: unknown): Omit<ErrorAnswer, 'retryAfterSec'> {
  if (error instanceof DomainError) return answerToDomainError(error);
  if (error instanceof HttpException) return answerToFramework(error.getStatus());
  if (isConnectionLost(error)) return { status: 503, body: UNREACHABLE, unexpected: true };
  const sqlState = (error as { code?: unknown } | null)?.code;
  const refusal = DATABASE_REFUSALS.find(({ state }) => typeof sqlState === 'string' && state.test(sqlState));
  if (!refusal) return { status: 500, body: OUR_FAULT, unexpected: true };
  return { status: refusal.status, body: { error: refusal.error, code: refusal.code }, unexpected: true };
}

function answerToDomainError({ kind, code, message, details }: DomainError): ErrorAnswer {
  const body = { error: message, code, ...(details === undefined ? {} : { details }) };
  return { status: STATUS_OF_KIND[kind], body, unexpected: false };
}

function answerToFramework(status: number): ErrorAnswer {
  const body = FRAMEWORK_REFUSALS[status];
  if (body) return { status, body, unexpected: false };
  if (status >= 500) return { status: 500, body: OUR_FAULT, unexpected: true };
  return { status, body: { error: 'The request was refused', code: 'refused' }, unexpected: true };
}
