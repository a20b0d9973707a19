import { validateHeaderName, validateHeaderValue } from 'node:http';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { isReference } from '../../secrets/secret-reference.js';
import type { Adapter, AdapterContext, AdapterResult, ExecutionLimits } from './adapter.port.js';
import { ConfigCheck, isObject } from './config-check.js';
import { DestinationRefusedError, Destinations } from './destinations.js';
import { exchange, type HttpAnswer } from './http-exchange.js';
import { retryTime } from './retry-time.js';
import { storableJson, storableText } from './storable-json.js';

interface HttpConfig {
  url?: string;
  method?: string;
  headers?: Record<string, string>;
  payloadTemplate?: Record<string, unknown>;
  timeoutMs?: number;
}

const FIELDS = ['url', 'method', 'headers', 'payloadTemplate', 'timeoutMs'];
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
/** They describe the message as it is sent, which is not the user's to say. */
const OWN_HEADERS = ['connection', 'content-length', 'host', 'transfer-encoding', 'upgrade', 'expect'];
const KEPT_HEADERS = ['content-type', 'content-length', 'location', 'retry-after', 'server', 'x-request-id'];
const DEFAULT_TIMEOUT_MS = 30_000;
const LIMIT_MARGIN_SEC = 10;
/** Statuses that say: later. */
const isTransient = (status: number) => status === 408 || status === 429 || status >= 500;

/** Executes an agent that listens elsewhere: one request, whose answer is the result. */
@Injectable()
export class HttpAdapter implements Adapter {
  readonly type = 'http';
  private readonly destinations: Destinations;

  constructor({ httpAllow }: BerthConfig) {
    this.destinations = new Destinations(httpAllow);
  }

  validateConfig(config: Record<string, unknown>): void {
    const check = new ConfigCheck(this.type, config, FIELDS);
    const { url, method, headers, payloadTemplate } = config;
    check.require(url === undefined || webAddress(url) !== null, 'url', 'must be an http or https address');
    check.require(method === undefined || methodOf(method) !== null, 'method', `must be one of: ${METHODS.join(', ')}`);
    check.require(headers === undefined || isObject(headers), 'headers', 'must be an object of strings');
    for (const [name, value] of Object.entries(isObject(headers) ? headers : {})) {
      const problem = headerProblem(name, value);
      check.require(problem === null, `headers.${name.slice(0, 100)}`, problem ?? '');
    }
    check.require(payloadTemplate === undefined || isObject(payloadTemplate), 'payloadTemplate', 'must be an object');
    check.integer('timeoutMs', 1, 86_400_000);
    check.finish();
  }

  /** The answer is waited for to the millisecond here; the runner's own limit only stands behind that. */
  limits(config: Record<string, unknown>): ExecutionLimits {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = config as HttpConfig;
    return { timeoutSec: Math.ceil(timeoutMs / 1000) + LIMIT_MARGIN_SEC, idleTimeoutSec: null };
  }

  async execute(context: AdapterContext): Promise<AdapterResult> {
    const config = context.config as HttpConfig;
    const url = webAddress(config.url);
    if (!url) return failed('adapter_failed', "The agent's adapterConfig names no url to call");
    const method = methodOf(config.method) ?? 'POST';
    const called = `${method} ${url.origin}${url.pathname}`;
    context.invoked({ method, url: `${url.origin}${url.pathname}` });
    const timeoutMs = config.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), timeoutMs);
    try {
      const signal = AbortSignal.any([context.signal, timeout.signal]);
      this.destinations.assertFree(url);
      const { lookup } = this.destinations;
      const answer = await exchange({ url, method, ...message(method, config, context), lookup, signal });
      await context.log('system', `${called} answered ${answer.status} ${answer.statusText}\n`);
      return verdict(called, answer);
    } catch (error) {
      const timedOut = timeout.signal.aborted && !context.signal.aborted;
      const result = timedOut
        ? { ...failed('timeout', `${called} did not answer within ${timeoutMs} ms`), outcome: 'timed_out' as const }
        : failed(codeOf(error), `${called} failed: ${causeOf(error)}`);
      await context.log('system', `${result.error}\n`);
      return result;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @throws Error where a header would say more than itself: a config may be older than what is checked when it is saved. */
function message(method: string, config: HttpConfig, context: AdapterContext) {
  const headers = config.headers ?? {};
  for (const [name, value] of Object.entries(headers)) {
    const problem = headerProblem(name, value);
    if (problem !== null) throw new Error(`the header ${JSON.stringify(name.slice(0, 100))} ${problem}`);
  }
  if (method === 'GET') return { headers, body: null };
  const { runId, agentId, companyId, contextSnapshot } = context;
  const body = JSON.stringify({ ...config.payloadTemplate, runId, agentId, companyId, context: contextSnapshot });
  const typed = Object.keys(headers).some((name) => name.toLowerCase() === 'content-type');
  return {
    headers: {
      ...(typed ? {} : { 'content-type': 'application/json' }),
      ...headers,
      'content-length': String(Buffer.byteLength(body)),
    },
    body,
  };
}

function verdict(called: string, answer: HttpAnswer): AdapterResult {
  const body = storableText(answer.body);
  const isJson = /\bjson\b/i.test(answer.headers['content-type'] ?? '') && !answer.truncated;
  const resultJson = {
    status: answer.status,
    headers: Object.fromEntries(
      Object.entries(answer.headers).filter(([name, value]) => KEPT_HEADERS.includes(name) && value !== undefined),
    ),
    body,
    bodyTruncated: answer.truncated,
    ...(isJson ? storableJson(body) : {}),
  };
  const result = 'json' in resultJson && isObject(resultJson.json) ? resultJson.json.result : undefined;
  if (answer.status >= 200 && answer.status < 300) {
    const ok = { outcome: 'succeeded', exitCode: null, signal: null, error: null, errorCode: null } as const;
    return { ...ok, resultJson: { ...resultJson, ...(typeof result === 'string' ? { result } : {}) }, usageJson: null };
  }
  const location = answer.headers.location ? ` (to ${answer.headers.location}; redirects are not followed)` : '';
  const error = `${called} answered ${answer.status} ${answer.statusText}`.trimEnd() + location;
  if (!isTransient(answer.status)) return { ...failed(`http_${answer.status}`, error), resultJson };
  const retryNotBefore = retryAfter(answer.headers['retry-after']);
  return { ...failed('transient_upstream', error), resultJson, retryNotBefore };
}

const failed = (errorCode: string, error: string): AdapterResult => ({
  outcome: 'failed',
  exitCode: null,
  signal: null,
  error,
  errorCode,
  resultJson: null,
  usageJson: null,
});

/** `Retry-After` is a number of seconds or a date; @returns ISO 8601, or null. */
function retryAfter(header: string | undefined): string | null {
  if (header === undefined) return null;
  return retryTime(/^\d+$/.test(header) ? Date.now() + Number(header) * 1000 : Date.parse(header));
}

const codeOf = (error: unknown) =>
  error instanceof DestinationRefusedError ? 'destination_refused' : 'http_request_failed';

/** A connection that was tried at several addresses fails with one error for each, and no message of its own. */
function causeOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}

function webAddress(value: unknown): URL | null {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  return url && /^https?:$/.test(url.protocol) ? url : null;
}

const methodOf = (value: unknown) => METHODS.find((known) => known === String(value).toUpperCase()) ?? null;

/** What a reference stands for is known only when it is sent. */
function headerProblem(name: string, given: unknown): string | null {
  const value = isReference(given) ? '' : given;
  if (typeof value !== 'string') return 'must be a string';
  if (OWN_HEADERS.includes(name.toLowerCase())) return 'is set by Berth itself';
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return null;
  } catch {
    return 'is not a valid header';
  }
}
