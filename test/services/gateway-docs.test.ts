import { createHash } from 'node:crypto';
import test from 'ava';
import { startGateway } from '#test/helpers/gateway.ts';
import { html, textOf } from '../../services/gateway/docs/html.ts';

type Document = { paths: Record<string, Record<string, { operationId: string }>>; components: { schemas: object } };

test('the API is described on one page that runs nothing and needs no other host', async (t) => {
  await using gateway = await startGateway();
  for (const base of [gateway.url, gateway.management]) {
    const { status, headers, text } = await gateway.call('GET', `${base}/docs`, undefined, { authorization: '' });
    t.is(status, 200);
    t.is(headers.get('content-type'), 'text/html; charset=utf-8');
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(text) ?? [];
    const hash = createHash('sha256').update(style).digest('base64');
    t.is(
      headers.get('content-security-policy'),
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    t.notRegex(text, /<script|\son\w+=|\sstyle=|<link|<img|<iframe|@import|url\(/i);
    const document: Document = (await gateway.call('GET', `${base}/openapi.json`)).json;
    const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    t.is(new Set(ids).size, ids.length);
    const operations = Object.values(document.paths).flatMap(Object.values);
    for (const { operationId } of operations) t.true(ids.includes(operationId), operationId);
    for (const name of Object.keys(document.components.schemas)) t.true(ids.includes(`schema-${name}`), name);
    for (const [, target] of text.matchAll(/href="#([^"]+)"/g)) t.true(ids.includes(target), target);
    t.deepEqual(
      new Set([...text.matchAll(/href="([^#"][^"]*)"/g)].map(([, to]) => to)),
      new Set(['openapi.json', 'asyncapi.json']),
    );
  }
});

test('what is put into a page is text, whatever is in it', (t) => {
  const page = html`<p title="${'"><script>'}">${['a < b', html`<b>${"it's & that"}</b>`, undefined]}</p>`;
  t.is(textOf(page), '<p title="&quot;&gt;&lt;script&gt;">a &lt; b<b>it&#39;s &amp; that</b></p>');
});
