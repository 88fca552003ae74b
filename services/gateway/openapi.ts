import { z } from 'zod';
import type { Answer } from '#shared/contracts/api/endpoint.ts';
import { ProblemDetails } from '#shared/contracts/api/problem.ts';
import { version } from '#shared/version.ts';
import type { Route } from './route.ts';
import { route } from './route.ts';

/** The route that documents all others, and itself. */
export function openApiRoute(others: readonly Route[]): Route {
  const own = route({
    method: 'get',
    path: '/openapi.json',
    scope: null,
    summary: 'This API as OpenAPI 3.1',
    answer: z.looseObject({}),
    handle: () => document,
  });
  const document = openApi([...others, own]);
  return own;
}

/** The routes as an OpenAPI 3.1 document, from the schemas that check what comes in. */
export function openApi(routes: readonly Route[]) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const each of routes) {
    const path = each.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [each.method]: operation(each) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Toka', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      schemas: { Problem: schemaOf(ProblemDetails, 'output') },
    },
  };
}

function operation({ method, path, scope, summary, params, query, headers, body, status, answer }: Route) {
  const names = path.split('/').map((part) => part.replace(':', 'by-'));
  return {
    operationId: [method, ...names.filter(Boolean)].join('-'),
    summary,
    description: scope === null ? 'Needs no token.' : `Needs the scope \`${scope}\`.`,
    security: scope === null ? [] : [{ token: [] }],
    parameters: [...parametersOf(params, 'path'), ...parametersOf(query, 'query'), ...parametersOf(headers, 'header')],
    ...(body
      ? {
          requestBody: {
            required: !body.safeParse(undefined).success,
            content: { 'application/json': { schema: schemaOf(body, 'input') } },
          },
        }
      : {}),
    responses: {
      [status]: { description: 'As asked', ...contentOf(answer) },
      default: {
        description: 'A problem (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function parametersOf(object: z.ZodObject, where: 'path' | 'query' | 'header') {
  return Object.entries(object.shape).map(([name, schema]) => ({
    name,
    in: where,
    required: where === 'path',
    schema: schemaOf(schema, 'input'),
  }));
}

function contentOf(answer: Answer) {
  if (answer === null) return {};
  if ('mediaType' in answer) return { content: { [answer.mediaType]: {} } };
  return { content: { 'application/json': { schema: schemaOf(answer, 'output') } } };
}

/** A zod schema as JSON Schema 2020-12. */
export function schemaOf(schema: z.core.$ZodType, io: 'input' | 'output') {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return json;
}
