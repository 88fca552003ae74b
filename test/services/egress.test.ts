import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer, request } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import test from 'ava';
import { isPublic } from '#shared/egress/addresses.ts';
import { normaliseHost } from '#shared/egress/host.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { createFetch } from '../../services/agent-runner/egress/create-fetch.ts';
import type { Egress } from '../../services/agent-runner/egress/egress.ts';
import { openEgress } from '../../services/agent-runner/egress/egress.ts';

const never = new AbortController().signal;
const bounds = { signal: never, bytesMax: 10_000, timeoutMs: 5_000 };

type Options = { allow?: string[]; exempt?: string[]; names?: Record<string, string[]> };

/** A way out whose names the test knows, behind a TCP port, as a sandbox's processes see it. */
async function open({ allow = [], exempt = [], names = {} }: Options = {}) {
  await using stack = new AsyncDisposableStack();
  const denied: { host: string; port: number; reason: string }[] = [];
  const asked: string[] = [];
  const egress: Egress = stack.use(
    openEgress({
      allow,
      exempt,
      denied: (what) => void denied.push(what),
      async resolve(host) {
        asked.push(host);
        return names[host] ?? Promise.reject(new Error('no such name'));
      },
    }),
  );
  const sockets = new Set<Socket>();
  const bridge = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    egress.serve(socket);
  });
  bridge.listen(0, '127.0.0.1');
  await once(bridge, 'listening');
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
    bridge.close();
  });
  const { port } = bridge.address() as AddressInfo;
  const owned = stack.move();
  return { egress, denied, asked, port, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** A server of the outside, on loopback: an exemption leads to it. */
async function serve(
  answer: (incoming: IncomingMessage) => { status?: number; headers?: Record<string, string>; body?: string },
) {
  const server = createServer((incoming, response) => {
    const { status = 200, headers = {}, body = 'hello' } = answer(incoming);
    response.writeHead(status, headers).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Asks through the proxy as any HTTP client does, in absolute form. */
async function get(proxy: number, url: string, headers: Record<string, string> = {}) {
  const asked = request({
    host: '127.0.0.1',
    port: proxy,
    path: url,
    headers: { host: new URL(url).host, ...headers },
    agent: false,
  }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, body };
}

/** Opens a tunnel; answers its status and the socket. */
async function tunnel(proxy: number, authority: string): Promise<{ status: number; socket: Socket }> {
  const asked = request({ host: '127.0.0.1', port: proxy, method: 'CONNECT', path: authority, agent: false }).end();
  const answered = await Promise.race([once(asked, 'connect'), once(asked, 'response')]);
  const [response, socket] = answered as [IncomingMessage, Socket | undefined];
  return { status: response.statusCode ?? 0, socket: socket ?? response.socket };
}

test('a host on the list is reached, by proxy and by fetch, and the bytes are counted; others are refused with the fix', async (t) => {
  await using server = await serve(({ headers, method }) => ({
    body: `${method} ${headers.host} ${headers['proxy-authorization'] ?? '-'}`,
  }));
  const at = `api.test:${server.port}`;
  await using way = await open({
    allow: [at],
    exempt: [at],
    names: { 'api.test': ['127.0.0.1'], 'evil.test': ['127.0.0.1'] },
  });
  t.deepEqual(await get(way.port, `http://${at}/x`, { 'proxy-authorization': 'secret' }), {
    status: 200,
    body: `GET ${at} -`,
  });
  const fetched = await way.egress.fetch(`http://${at}/y`, { ...bounds, method: 'POST', body: 'abc' });
  t.deepEqual([fetched.status, fetched.body.toString()], [200, `POST ${at} -`]);
  const refused = await get(way.port, `http://evil.test:${server.port}/`);
  t.is(refused.status, 403);
  t.regex(refused.body, /evil\.test.*network\.allow/);
  t.false(refused.body.includes('127.0.0.1'));
  await t.throwsAsync(way.egress.fetch('http://evil.test/', bounds), { code: 'forbidden' });
  t.deepEqual(
    way.denied.map(({ host }) => host),
    ['evil.test', 'evil.test'],
  );
  t.false(way.asked.includes('evil.test'), 'its name is not even looked up');
  const { bytesIn, bytesOut } = way.egress.traffic();
  t.true(bytesIn > 100 && bytesOut > 100);
  const response = await createFetch(way.egress)(`http://${at}/z`);
  t.regex(await response.text(), /^GET/);
});

test('wildcards are for what lies below, and a port only for itself', async (t) => {
  await using way = await open({ allow: ['*.example.com', 'other.test:8443'], names: {} });
  const reason = async (url: string) =>
    way.egress.fetch(url, bounds).then(
      () => 'reached',
      (error: Error & { code: string }) => error.code,
    );
  t.is(await reason('https://a.b.example.com/'), 'upstream', 'allowed, though there is no such name');
  t.is(await reason('https://example.com/'), 'forbidden');
  t.is(await reason('https://evilexample.com/'), 'forbidden');
  t.is(await reason('https://a.example.com:8443/'), 'forbidden');
  t.is(await reason('https://other.test:8443/'), 'upstream');
  t.is(await reason('https://other.test/'), 'forbidden');
});

const inside = [
  ...[
    '169.254.169.254',
    '100.100.100.200',
    '168.63.129.16',
    '127.0.0.1',
    '10.1.2.3',
    '172.20.0.1',
    '192.168.1.1',
    '0.0.0.0',
    '100.64.0.1',
  ],
  ...['224.0.0.1', '255.255.255.255', '198.18.0.1', '192.0.0.192', '192.0.2.1'],
  ...[
    'fd00:ec2::254',
    '::1',
    '::',
    'fe80::1',
    'fc00::1',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
  ],
  ...['64:ff9b:1::1', '2002:7f00:1::', '2001:0:1::', '2001:db8::1', 'ff02::1'],
];

test('addresses that lead inside are none of the internet, in whatever form', (t) => {
  for (const address of inside) t.false(isPublic(address), address);
  for (const address of ['1.1.1.1', '93.184.216.34', '2606:4700::1111']) t.true(isPublic(address), address);
});

const spellings: [string, string][] = [
  ['2852039166', '169.254.169.254'],
  ['0xa9fea9fe', '169.254.169.254'],
  ['0251.0376.0251.0376', '169.254.169.254'],
  ['169.254.43518', '169.254.169.254'],
  ['１６９。２５４。１６９。２５４', '169.254.169.254'],
  ['169.254.169.254.', '169.254.169.254'],
  ['[::ffff:169.254.169.254]', '::ffff:a9fe:a9fe'],
  ['127.1', '127.0.0.1'],
];

test('metadata is not reached by any spelling of its address, not even where the list has it', async (t) => {
  await using way = await open({
    allow: ['169.254.169.254', '*.test', '127.0.0.1'],
    names: { 'meta.test': ['169.254.169.254'] },
  });
  for (const [written, meant] of spellings) {
    t.is(normaliseHost(written), meant, written);
    const safe = /[^\x20-\x7e]/.test(written) ? encodeURIComponent(written) : written;
    t.not((await get(way.port, `http://${safe}/latest/meta-data/`, { host: meant })).status, 200, written);
    t.not((await tunnel(way.port, `${safe}:80`)).status, 200, written);
  }
  for (const address of inside) {
    const host = address.includes(':') ? `[${address}]` : address;
    await t.throwsAsync(way.egress.fetch(`http://${host}/`, bounds), { code: 'forbidden' }, address);
  }
  await t.throwsAsync(way.egress.fetch('http://meta.test/', bounds), { code: 'forbidden', message: /not public/ });
});

test('a name is looked up once, and one bad answer among good ones refuses it', async (t) => {
  await using server = await serve(() => ({ body: 'the right one' }));
  let count = 0;
  const egress = openEgress({
    allow: [`rebind.test:${server.port}`, 'mixed.test'],
    exempt: [`rebind.test:${server.port}`],
    async resolve(host) {
      if (host === 'mixed.test') return ['93.184.216.34', '10.0.0.1'];
      count += 1;
      return count === 1 ? ['127.0.0.1'] : ['169.254.169.254'];
    },
  });
  const first = await egress.fetch(`http://rebind.test:${server.port}/`, bounds);
  t.is(first.body.toString(), 'the right one');
  t.is(count, 1, 'what was checked is what was dialled');
  await t.throwsAsync(egress.fetch(`http://rebind.test:${server.port}/`, bounds), { code: 'forbidden' });
  await t.throwsAsync(egress.fetch('http://mixed.test/', bounds), { code: 'forbidden' });
  await egress[Symbol.asyncDispose]();
});

test('a redirect is checked like a request, and loses what was meant for the first host', async (t) => {
  await using target = await serve(({ headers }) => ({ body: `auth: ${headers.authorization ?? 'none'}` }));
  await using server = await serve(({ url }) => ({
    status: 302,
    headers: {
      location: url === '/in' ? 'http://127.0.0.1/secret' : url === '/loop' ? '/loop' : `http://b.test:${target.port}/`,
    },
  }));
  const hosts = [`a.test:${server.port}`, `b.test:${target.port}`];
  await using way = await open({
    allow: hosts,
    exempt: hosts,
    names: { 'a.test': ['127.0.0.1'], 'b.test': ['127.0.0.1'] },
  });
  const ask = (path: string) =>
    way.egress.fetch(`http://a.test:${server.port}${path}`, { ...bounds, headers: { authorization: 'Bearer x' } });
  t.is((await ask('/out')).body.toString(), 'auth: none');
  await t.throwsAsync(ask('/in'), { code: 'forbidden' });
  await t.throwsAsync(ask('/loop'), { message: /redirects/ });
});

test('tunnels carry TLS to whom they are for: no other port, no plain text on 443, no other name in the hello', async (t) => {
  await using folder = await temporaryFolder();
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(folder.path, name)) as [string, string];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-subj',
      '/CN=tls.test',
      '-days',
      '1',
    ],
    { stdio: 'ignore' },
  );
  const server = createTlsServer(
    { key: readFileSync(key), cert: readFileSync(cert) },
    (_, response) => void response.end('over TLS'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await using way = await open({
    allow: [`tls.test:${port}`],
    exempt: [`tls.test:${port}`],
    names: { 'tls.test': ['127.0.0.1'] },
  });
  t.is((await tunnel(way.port, 'tls.test:22')).status, 403);

  const says = async (servername: string) => {
    const { status, socket } = await tunnel(way.port, `tls.test:${port}`);
    t.is(status, 200);
    const tls = connectTls({ socket, servername, rejectUnauthorized: false });
    const connected = await Promise.race([
      once(tls, 'secureConnect').then(() => true),
      once(tls, 'error').then(() => false),
      once(tls, 'close').then(() => false),
    ]).catch(() => false);
    tls.destroy();
    return connected;
  };
  t.true(await says('tls.test'));
  t.false(await says('other.test'));
  t.regex(way.denied.at(-1)?.reason ?? '', /SNI/);
  server.close();
  server.closeAllConnections();
});

test('a request whose Host is another than its URL is refused, and so is what is no request at all', async (t) => {
  await using server = await serve(() => ({}));
  const at = `api.test:${server.port}`;
  await using way = await open({ allow: [at], exempt: [at], names: { 'api.test': ['127.0.0.1'] } });
  t.not((await get(way.port, `http://${at}/`, { host: 'admin.internal' })).status, 200);
  const raw = connect(way.port, '127.0.0.1');
  raw.on('error', () => undefined);
  raw.write('\x16\x03\x01garbage\r\n\r\n');
  await Promise.race([once(raw, 'close'), delay(500)]);
  raw.destroy();
  t.is((await get(way.port, `http://${at}/`)).status, 200, 'it is well afterwards');
});

test('answers are bounded, slow servers are left, and clients that vanish harm nobody', async (t) => {
  await using big = await serve(() => ({ body: 'x'.repeat(100_000) }));
  const silent = createTcpServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const hosts = [`big.test:${big.port}`, `silent.test:${port}`];
  await using way = await open({
    allow: hosts,
    exempt: hosts,
    names: { 'big.test': ['127.0.0.1'], 'silent.test': ['127.0.0.1'] },
  });
  const fetched = await way.egress.fetch(`http://big.test:${big.port}/`, bounds);
  t.deepEqual([fetched.body.byteLength, fetched.truncated], [10_000, true]);
  await t.throwsAsync(way.egress.fetch(`http://silent.test:${port}/`, { ...bounds, timeoutMs: 300 }), {
    code: 'timeout',
  });
  for (let count = 0; count < 20; count++) {
    const { socket } = await tunnel(way.port, `silent.test:${port}`);
    socket.on('error', () => undefined);
    socket.resetAndDestroy();
  }
  t.is((await get(way.port, `http://big.test:${big.port}/`)).status, 200);
  silent.close();
});
