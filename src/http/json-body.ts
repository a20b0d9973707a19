import { UnsupportedMediaTypeException } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { assertStorable } from './storable.js';

type JsonParser = (request: unknown, body: string, done: (error: Error | null, body?: unknown) => void) => void;

/**
 * Bodies are JSON and nothing else. A JSON body that is empty counts as none: clients announce JSON on every POST,
 * also where they have nothing to say.
 */
export function acceptJsonOnly(app: NestFastifyApplication): void {
  const fastify = app.getHttpAdapter().getInstance();
  const { bodyLimit } = fastify.initialConfig;
  const parseJson = fastify.getDefaultJsonParser('error', 'error') as JsonParser;

  fastify.removeContentTypeParser('text/plain');
  app.useBodyParser('application/json', { bodyLimit }, (request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    parseJson(request, body.toString('utf8'), (error, parsed) => {
      if (error) return done(error);
      try {
        assertStorable(parsed);
      } catch (refusal) {
        return done(refusal as Error);
      }
      done(null, parsed);
    });
  });
  // What `curl -d` sends unless told otherwise; the framework would read it as a form.
  app.useBodyParser('application/x-www-form-urlencoded', { bodyLimit }, (_request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    done(new UnsupportedMediaTypeException());
  });
}
