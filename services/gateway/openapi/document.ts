import { z } from 'zod';
import { version } from '#shared/version.ts';
import { docsPage, pagePolicy } from '../docs/page.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { exampleOf, waitedExample } from './examples.ts';
import { Problem, problemResponses, problemsOf } from './problems.ts';
import type { Schemas } from './schemas.ts';
import { createSchemas } from './schemas.ts';

/** A table of routes, and with it those that describe it: for programs and for people. */
export function described(others: readonly Route[]): Route[] {
  const routes = [
    ...others,
    route({
      method: 'get',
      path: '/openapi.json',
      scope: null,
      summary: 'This API as OpenAPI 3.1',
      answer: z.looseObject({}),
      handle: () => document,
    }),
    route({
      method: 'get',
      path: '/docs',
      scope: null,
      summary: 'This API on one page, for people',
      answer: { mediaType: 'text/html' },
      handle({ ctx }) {
        ctx.set('Content-Security-Policy', pagePolicy);
        ctx.type = 'html';
        return page;
      },
    }),
  ];
  const document = openApi(routes);
  const page = docsPage(document);
  return routes;
}

const tags = {
  agents: 'Who works, and what on',
  runs: 'What agents do, step by step, and what they hand in',
  approvals: 'What people are asked',
  events: 'The log, live and as it was',
  llm: "Client keys for the llm-proxy's own port",
  system: 'How the whole is doing, and what this API is',
};

const about = `Background LLM agents: who they are, what they do, what they cost.

Lists come in pages: ask again with \`cursor\` = \`nextCursor\` until that is null. A write answers \`Toka-Seq\`; a query with that as \`minSeq\` shows it.
A \`POST\` that is repeated with its \`Idempotency-Key\` within a day is done once, and answered the same. Errors are problem details (RFC 9457).`;

const token = `A JWT with \`sub\`, \`exp\` and \`scope\` (names with spaces between; \`admin\` has all). The scope that an operation needs stands with it.
With the claim \`workstreams\`, a list of names, the token is limited to these: for it there are no agents, runs, events, costs or keys of others.`;

const text = (description: string) => ({ description, schema: { type: 'string' } });
const headers = {
  ETag: text("The agent's version, for If-Match"),
  Location: text('Where it is'),
  'Preference-Applied': text('How long it may have been waited'),
  'Retry-After': { description: 'Seconds until it is worth another try', schema: { type: 'integer', minimum: 1 } },
  'Toka-Seq': { description: 'Where in the log the write is, for minSeq', schema: { type: 'integer', minimum: 0 } },
};

/** The routes as an OpenAPI 3.1 document, from the schemas that check what comes in. */
export function openApi(routes: readonly Route[]) {
  const schemas = createSchemas();
  schemas.of(Problem, 'output');
  const paths: Record<string, Record<string, object>> = {};
  for (const each of routes) {
    const path = each.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [each.method]: operation(each, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      ...{ title: 'Toka', version, description: about },
      ...{ contact: { name: 'Toka' }, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: token } },
      headers,
      responses: problemResponses,
      schemas: Object.fromEntries(Object.entries(schemas.components).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

/** What an operation is known by: its method and path. */
export const operationIdOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string =>
  [method, ...path.split('/').map((part) => part.replace(':', 'by-'))].filter(Boolean).join('-');

function operation(each: Route, schemas: Schemas) {
  const { path, scope, summary, params, query, headers, body } = each;
  const [first = ''] = path.split('/').filter(Boolean);
  const operationId = operationIdOf(each);
  const examples = exampleOf(operationId);
  return {
    operationId,
    summary,
    description: scope === null ? 'Needs no token.' : `Needs the scope \`${scope}\`.`,
    tags: [first in tags ? first : 'system'],
    security: scope === null ? [] : [{ token: [scope] }],
    parameters: [
      ...parametersOf(params, 'path', schemas),
      ...parametersOf(query, 'query', schemas),
      ...parametersOf(headers, 'header', schemas),
    ],
    ...(body
      ? {
          requestBody: {
            required: !body.safeParse(undefined).success,
            content: { 'application/json': { schema: schemas.of(body, 'input'), ...examples.body } },
          },
        }
      : {}),
    responses: { ...answersOf(each, schemas, examples.answer), ...problemsOf(each) },
  };
}

/** Of those that mean the same wherever they are. */
const parameterTexts: Record<string, string> = {
  id: 'Its id',
  name: 'Its name',
  seq: 'Its sequence in the log',
  cursor: 'The nextCursor of the page before',
  minSeq: 'The Toka-Seq of a write that the answer must hold',
  agent: 'Those of this agent',
  run: 'Those of this run',
  status: 'Those in this state',
  workstream: 'Those of this workstream',
  domain: 'Those of this domain',
  priority: 'Those of this priority',
  by: 'What is added up',
  limit: 'How many of them a page has at most',
  subject: 'Those about this',
  type: 'Those of these types',
  since: 'Those after this sequence',
  'Last-Event-ID': 'The id of the last event that came: it goes on after it',
  open: 'Those that wait for an answer, or those that do not',
};

function parametersOf(object: z.ZodObject, where: 'path' | 'query' | 'header', schemas: Schemas) {
  return Object.entries(object.shape).map(([name, schema]) => {
    const { description = parameterTexts[name], ...json } = schemas.of(schema, 'input');
    return { name, in: where, required: where === 'path', description, schema: json };
  });
}

const answerTexts: Record<number, string> = {
  200: 'As asked',
  201: 'It is made',
  202: 'It is on the log, and will be done',
  204: 'It is done',
};

function answersOf(each: Route, schemas: Schemas, example: { example?: unknown }) {
  const { status, waits } = each;
  const headers = headersOf(each);
  const answer = { description: answerTexts[status], headers, ...contentOf(each, schemas, example) };
  if (!waits) return { [status]: answer };
  const ended = {
    description: 'The run as it ended, with `Prefer: wait`',
    headers: { ...headers, ...refs(['Preference-Applied']) },
    ...contentOf(each, schemas, waitedExample),
  };
  return { 200: ended, [status]: answer };
}

const refs = (names: (keyof typeof headers)[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));

const headersOf = ({ method, path, status, waits }: Route) =>
  refs([
    ...(path === '/agents/:id' && method !== 'delete' ? (['ETag'] as const) : []),
    ...(status === 201 || waits ? (['Location'] as const) : []),
    ...(method !== 'get' ? (['Toka-Seq'] as const) : []),
  ]);

function contentOf({ answer }: Route, schemas: Schemas, example: { example?: unknown }) {
  if (answer === null) return {};
  if ('mediaType' in answer) return { content: { [answer.mediaType]: { schema: {}, ...example } } };
  return { content: { 'application/json': { schema: schemas.of(answer, 'output'), ...example } } };
}
