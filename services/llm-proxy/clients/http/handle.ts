import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import type { Key } from '../../keys/keyring.ts';
import type { Call, Parts } from '../../model-call.ts';
import { clientLeft } from '../../pipeline/client-left.ts';
import { sendModels } from './models.ts';
import { breakOff, sendFailure, sendJson } from './reply.ts';
import { modelRoutes, wireFor } from './routes.ts';
import { serve } from './serve.ts';

const prefix = `req_${randomBytes(8).toString('hex')}`;
let requests = 0;

/** Answers every request to the server; `calls` holds those to models while they last. */
export function createHandler(parts: Parts, calls: Set<Call>): RequestListener {
  return (incoming, response) => {
    const id = prefix + (++requests).toString(36).padStart(8, '0');
    response.setHeader('x-request-id', id);
    const url = incoming.url ?? '/';
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const query = mark < 0 ? '' : url.slice(mark);
    route(parts, { id, path, query, incoming, response }, calls).catch((thrown: unknown) => {
      if (!(thrown instanceof Failure)) parts.logger.error({ err: thrown, path }, 'a bug: a request failed');
      if (thrown !== clientLeft) sendFailure(response, wireFor(path, incoming.headers), thrown);
      // Whatever has begun must have an end.
      if (response.headersSent && !response.writableEnded) breakOff(response);
    });
  };
}

type Request = { id: string; path: string; query: string; incoming: IncomingMessage; response: ServerResponse };

async function route(parts: Parts, request: Request, calls: Set<Call>): Promise<void> {
  const { id, path, query, incoming, response } = request;
  const asking = modelRoutes.get(path);
  if (!asking && path !== '/v1/models' && path !== '/health')
    throw new Failure('not-found', `there is no ${path.slice(0, 200)}`);
  const method = asking ? 'POST' : 'GET';
  if (incoming.method !== method) {
    response.setHeader('allow', method);
    throw new Failure('not-allowed', `${path} takes ${method}`);
  }
  if (path === '/health') return sendJson(response, 200, { status: 'ok' });
  const key = keyOf(parts, incoming.headers);
  if (!asking) return sendModels(parts, key, incoming, response);
  return serve(parts, { id, route: asking, key, query, incoming }, response, calls);
}

/** The client's key, by the header of either wire. Throws `unauthorized`. */
function keyOf({ keys }: Parts, headers: IncomingHttpHeaders): Key {
  const { authorization, 'x-api-key': apiKey } = headers;
  const bearer = authorization?.slice(0, 7).toLowerCase() === 'bearer ' ? authorization.slice(7).trim() : undefined;
  const key = keys.find(bearer ?? (typeof apiKey === 'string' ? apiKey : ''), Date.now());
  if (!key) throw new Failure('unauthorized', 'a valid client key is needed, as Authorization: Bearer or as x-api-key');
  return key;
}
