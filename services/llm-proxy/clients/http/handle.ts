import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import type { Key } from '../../keys/keyring.ts';
import type { Call, ModelRoute, Parts } from '../../model-call.ts';
import { clientLeft } from '../../pipeline/client-left.ts';
import { sendModel, sendModels } from './models.ts';
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
  const isModel = path.startsWith(modelsPrefix);
  if (!asking && !isModel && path !== '/v1/models' && !open.has(path))
    throw new Failure('not-found', `there is no ${path.slice(0, 200)}`);
  if (asking && incoming.method === 'GET' && /\bwebsocket\b/i.test(incoming.headers.upgrade ?? ''))
    return refuseUpgrade(response, asking);
  // What is there to be read has a head, too (RFC 9110, section 9.1); Node leaves out its body.
  const methods = asking ? ['POST'] : ['GET', 'HEAD'];
  if (!methods.includes(incoming.method ?? '')) {
    response.setHeader('allow', methods.join(', '));
    throw new Failure('not-allowed', `${path.slice(0, 200)} takes ${methods[0]}`);
  }
  const told = open.get(path);
  if (told) return sendJson(response, 200, told);
  const key = keyOf(parts, incoming.headers);
  if (asking) return serve(parts, { id, route: asking, key, query, incoming }, response, calls);
  if (isModel) return sendModel(parts, nameIn(path), { key, query, incoming }, response);
  return sendModels(parts, { key, query, incoming }, response);
}

const modelsPrefix = '/v1/models/';

/** What anybody is told. The second is how Claude Code sees at its start whether there is anybody (2.1.328, 2026-11-30). */
const open: ReadonlyMap<string, object> = new Map([
  ['/health', { status: 'ok' }],
  ['/api/hello', { message: 'hello' }],
]);

/** The name of a model, which may have slashes, written out or not. */
function nameIn(path: string): string {
  try {
    return decodeURIComponent(path.slice(modelsPrefix.length));
  } catch {
    throw new Failure('invalid', 'model: its name is not well encoded in the path');
  }
}

/** Codex asks by WebSocket first. Of all refusals it goes on at once with a plain request after this one alone (0.169.0, 2026-11-30). */
function refuseUpgrade(response: ServerResponse, { client }: ModelRoute): void {
  const message = 'there is no WebSocket here; send the request with POST';
  const error = client.writeError({ status: 426, code: 'not-allowed', message });
  sendJson(response, 426, error, { upgrade: 'HTTP/1.1', connection: 'Upgrade, close' });
}

/** The client's key, by the header of either wire. Throws `unauthorized`. */
function keyOf({ keys }: Parts, headers: IncomingHttpHeaders): Key {
  const { authorization, 'x-api-key': apiKey } = headers;
  const bearer = authorization?.slice(0, 7).toLowerCase() === 'bearer ' ? authorization.slice(7).trim() : undefined;
  const key = keys.find(bearer ?? (typeof apiKey === 'string' ? apiKey : ''), Date.now());
  if (!key) throw new Failure('unauthorized', 'a valid client key is needed, as Authorization: Bearer or as x-api-key');
  return key;
}
