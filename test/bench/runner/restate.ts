import { spawn } from 'node:child_process';
import { Agent, request } from 'node:http';
import { freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Contender } from './batch.ts';
import { atATime } from './batch.ts';
import { countCpu } from './cpu.ts';
import { end, startModule } from './process.ts';
import type { Restate } from './restate-install.ts';

export type RestateOptions = { synced: boolean; handlers: number };

/** Restate's server with as many handler processes as there are runners on the other side. */
export async function openRestate(installed: Restate, { synced, handlers }: RestateOptions): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const [ingress, admin, node] = [await freePort(), await freePort(), await freePort()];
  const child = spawn(installed.server, ['--no-logo', '--base-dir', folder, '--listen-mode', 'tcp'], {
    stdio: 'ignore',
    env: {
      PATH: process.env.PATH ?? '',
      RESTATE_BIND_IP: '127.0.0.1',
      RESTATE_BIND_PORT: String(node),
      RESTATE_INGRESS__BIND_PORT: String(ingress),
      RESTATE_ADMIN__BIND_PORT: String(admin),
      RESTATE_NODE_NAME: 'bench',
      RESTATE_LOG_FILTER: 'error',
      RESTATE_DISABLE_TELEMETRY: 'true',
      RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC: String(!synced),
      RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC: String(!synced),
      DO_NOT_TRACK: '1',
    },
  });
  stack.defer(() => end(child));
  await eventually(async () => (await fetch(`http://127.0.0.1:${admin}/health`)).ok, 60_000);
  const names = Array.from({ length: handlers }, (_, index) => `bench${index}`);
  const pids: number[] = [];
  for (const name of names) {
    const port = await freePort();
    const args = [installed.sdk, name, String(port)];
    const env = { NODE_ENV: 'production', RESTATE_LOGGING: 'ERROR' };
    pids.push(stack.use(await startModule('test/bench/runner/restate-handler.ts', args, env)).pid);
    await register(admin, port);
  }
  const agent = new Agent({ keepAlive: true });
  stack.defer(() => agent.destroy());
  const call = (name: string, turns: number) => post(agent, ingress, `/${name}/work`, JSON.stringify(turns));
  for (const name of names) await eventually(() => call(name, 1), 30_000);
  const kinds = { handlers: pids, server: [child.pid ?? 0], bench: [process.pid] };

  const owned = stack.move();
  return {
    async measure({ runs, turns, atOnce }) {
      const used = await countCpu(kinds);
      const startedMs = performance.now();
      await atATime(atOnce, runs, async (index) => {
        await call(names[index % names.length] ?? '', turns);
      });
      const seconds = (performance.now() - startedMs) / 1000;
      return { seconds, runs, turns: runs * turns, records: null, cpuMs: await used() };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function register(admin: number, port: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${admin}/deployments`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ uri: `http://127.0.0.1:${port}` }),
  });
  if (!answer.ok) throw new Error(`Restate did not take the handler: ${answer.status} ${await answer.text()}`);
}

function post(agent: Agent, port: number, path: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.once('error', reject);
      answer.once('end', () =>
        answer.statusCode === 200 ? resolve(text) : reject(new Error(`${answer.statusCode} ${text}`)),
      );
    });
    sent.once('error', reject);
    sent.end(body);
  });
}
