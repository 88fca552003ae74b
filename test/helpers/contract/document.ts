import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { Schema } from './arbitrary.ts';
import { resolve } from './arbitrary.ts';

type Parameter = { name: string; in: 'path' | 'query' | 'header'; required: boolean; schema: Schema };
type Content = Record<string, { schema: Schema; example?: unknown }>;
type Response = { content?: Content; headers?: Record<string, unknown> };

export type Operation = {
  operationId: string;
  method: string;
  path: string;
  security: { token: string[] }[];
  parameters: Parameter[];
  requestBody?: { required: boolean; content: Content };
  responses: Record<string, Response>;
};

export type Document = { root: Schema; operations: Operation[] };

/** The operations of an OpenAPI document, with references to responses followed. */
export function readDocument(root: Schema): Document {
  const paths = root.paths as Record<string, Record<string, Operation>>;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      ...operation,
      method: method.toUpperCase(),
      path,
      responses: Object.fromEntries(
        Object.entries(operation.responses).map(([status, response]) => [
          status,
          '$ref' in response ? (resolve(String(response.$ref), root) as Response) : response,
        ]),
      ),
    })),
  );
  return { root, operations };
}

export type Answered = { status: number; headers: Record<string, string | string[] | undefined>; text: string };

/** What of an answer is not as the document says; undefined: all of it is. */
export type Check = (operation: Operation, answer: Answered) => string | undefined;

export function createCheck({ root }: Document): Check {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false });
  addFormats.default(ajv);
  ajv.addSchema(root, 'api');
  const validators = new Map<string, ReturnType<typeof ajv.compile>>();
  const validate = (name: string, schema: Schema, value: unknown) => {
    const inApi = JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"api#/'));
    const known = validators.get(name) ?? ajv.compile(inApi);
    validators.set(name, known);
    return known(value) ? undefined : ajv.errorsText(known.errors);
  };
  return ({ operationId, responses }, { status, headers, text }) => {
    const response = responses[status];
    if (!response) return `the status ${status} is not documented`;
    const [type = ''] = String(headers['content-type'] ?? '').split(';');
    if (!response.content) return text === '' ? undefined : 'there is a body where none is documented';
    const content = response.content[type] ?? response.content['*/*'];
    if (!content) return `the media type ${JSON.stringify(type)} is not documented`;
    if (headers['retry-after'] === undefined && response.headers && 'Retry-After' in response.headers)
      return 'there is no Retry-After';
    return /json$/.test(type) ? validate(`${operationId} ${status}`, content.schema, JSON.parse(text)) : undefined;
  };
}
