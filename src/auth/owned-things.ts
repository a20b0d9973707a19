import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { validate } from 'uuid';
import { NotFoundError } from '../errors/domain-error.js';
import { assertCompanyAccess } from './access.js';

/**
 * Looks up what a path names by its id, name or identifier, as the current actor sees it.
 * @throws NotFoundError when it does not exist, or is another company's.
 */
type Finder = (reference: string) => Promise<unknown>;

/** `/api/environments/:id/drain`: the kind of thing, and the parameter that names it. */
const NAMED_FIRST = /^\/api\/([a-z-]+)\/:(\w+)/;

/** What paths name that belongs to a company. Who keeps a kind of thing lives above this module and puts its finder in. */
@Injectable()
export class OwnedThings {
  private readonly kinds = new Map<string, { find: Finder; named: boolean }>();

  /**
   * @param kind the first part of the path under which such things are reached.
   * @param named whether they have other names than their ids; otherwise what is no id names nothing.
   */
  register(kind: string, find: Finder, { named = false } = {}): void {
    this.kinds.set(kind, { find, named });
  }

  /**
   * Another company's thing is answered like one that does not exist, also to those who may not call the route anyway.
   * @throws NotFoundError
   */
  async assertVisible({ routeOptions, params }: FastifyRequest): Promise<void> {
    const [, kind = '', parameter = ''] = NAMED_FIRST.exec(routeOptions.url ?? '') ?? [];
    const reference = (params as Record<string, string>)[parameter];
    if (reference === undefined) return;
    if (kind === 'companies') return assertCompanyAccess(reference.toLowerCase());
    const things = this.kinds.get(kind);
    if (!things) return;
    if (!things.named && !validate(reference)) throw new NotFoundError(`'${reference.slice(0, 80)}'`);
    await things.find(reference);
  }
}
