import { createHash } from 'node:crypto';
import type { openApi } from '../openapi/document.ts';
import type { Html } from './html.ts';
import { html, inline, prose, raw, textOf } from './html.ts';
import type { Schema } from './schema.ts';
import { fieldOf, fieldsOf } from './schema.ts';
import { style } from './style.ts';

type Document = ReturnType<typeof openApi>;
type Content = Record<string, { schema: Schema; example?: unknown }>;
type Response = { $ref?: string; description?: string; content?: Content };
type Operation = {
  operationId: string;
  summary: string;
  description: string;
  tags: string[];
  security: object[];
  parameters: { name: string; in: string; required: boolean; description?: string; schema: Schema }[];
  requestBody?: { content: Content };
  responses: Record<string, Response>;
};
type Row = { method: string; path: string; operation: Operation };

const styleHash = createHash('sha256').update(style).digest('base64');

/** What the page may do: be styled by its own style sheet. It runs nothing, and loads nothing from anywhere. */
export const pagePolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The API's description for people, as one page that needs nothing else. */
export function docsPage(document: Document): string {
  const rows = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Row => ({ method, path, operation: operation as Operation })),
  );
  const { title, version, description } = document.info;
  const page = html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title} API</title>
<style>${raw(style)}</style>
<nav>
<b>${title}</b> ${version}
${document.tags.map(({ name }) => html`<h2>${name}</h2>${rows.filter((row) => isOf(row, name)).map(linkTo)}`)}
<h2><a href="#schemas">Schemas</a></h2>
</nav>
<main>
<h1>${title} API</h1>
${prose(description)}
<p>As <a href="openapi.json">OpenAPI 3.1</a>; what is on NATS as <a href="asyncapi.json">AsyncAPI 3.0</a>.</p>
<h2>Tokens</h2>
${prose(document.components.securitySchemes.token.description)}
<h2>Errors</h2>
<dl>${Object.values(document.components.responses).map(problem)}</dl>
${document.tags.map(
  ({ name, description: about }) => html`<h2 id="${name}">${name}</h2><p>${about}</p>
${rows.filter((row) => isOf(row, name)).map((row) => articleOf(row, document))}`,
)}
<h2 id="schemas">Schemas</h2>
${Object.entries(document.components.schemas).map(
  ([name, schema]) => html`<article id="schema-${name}"><h3>${name}</h3>${fieldsOf(schema)}</article>`,
)}
</main>
`;
  return textOf(page);
}

const isOf = ({ operation }: Row, tag: string) => operation.tags.includes(tag);

const linkTo = ({ method, path, operation }: Row): Html =>
  html`<a href="#${operation.operationId}" title="${operation.summary}"><span class="method ${method}">${method}</span><span>${path}</span></a>`;

type ProblemResponse = {
  description: string;
  content: { 'application/problem+json': { example: { status: number; code: string } } };
};
function problem({ description, content }: ProblemResponse): Html {
  const { status, code } = content['application/problem+json'].example;
  return html`<dt>${status} <code>${code}</code></dt><dd>${inline(description)}</dd>`;
}

function articleOf({ method, path, operation }: Row, { servers }: Document): Html {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  const body = requestBody?.content['application/json'];
  const answers = Object.entries(responses).filter(([, { $ref }]) => !$ref);
  const problems = Object.entries(responses).flatMap(([status, { $ref }]) => ($ref ? [status] : []));
  return html`<article id="${operationId}">
<header><span class="method ${method}">${method}</span><h3><code>${path}</code></h3><span>${summary}</span></header>
${prose(description)}
${parameters.length > 0 ? html`<h4>Parameters</h4><dl>${parameters.map((each) => fieldOf(`${each.name}`, each.schema, each.required, `${each.description ?? ''} (${each.in})`))}</dl>` : undefined}
${body ? html`<h4>Body</h4>${fieldsOf(body.schema)}` : undefined}
<details><summary>Request</summary><pre>${curl(method, path, operation, servers[0]?.url ?? '/', body?.example)}</pre></details>
<h4>Answers</h4>
${answers.map(([status, response]) => answerOf(status, response))}
<p><small>Problems: ${problems.join(', ')}</small></p>
</article>`;
}

function answerOf(status: string, { description, content = {} }: Response): Html {
  const [[type, media] = []] = Object.entries(content);
  return html`<p><b>${status}</b> ${inline(description ?? '')} <small>${type}</small></p>
${type?.endsWith('json') && media ? fieldsOf(media.schema) : undefined}
${media?.example === undefined ? undefined : html`<details><summary>Example</summary><pre>${shown(media.example)}</pre></details>`}`;
}

const shown = (example: unknown) => (typeof example === 'string' ? example : JSON.stringify(example, null, 2));

/** How one asks it from a shell. */
function curl(method: string, path: string, { security, parameters }: Operation, base: string, body: unknown): string {
  const needs = (name: string) => parameters.some((each) => each.in === 'header' && each.name === name);
  const lines = [
    `curl${method === 'get' ? '' : ` -X ${method.toUpperCase()}`} http://localhost:8080${base === '/' ? '' : base}${path}`,
    ...(security.length > 0 ? [`-H "Authorization: Bearer $TOKEN"`] : []),
    ...(needs('If-Match') ? [`-H 'If-Match: "17"'`] : []),
    ...(body === undefined ? [] : [`-H 'Content-Type: application/json'`, `-d '${JSON.stringify(body, null, 2)}'`]),
  ];
  return lines.join(' \\\n  ');
}
