import { openToka } from './proxy/toka.ts';
import { startWorker } from './proxy/worker.ts';
import { measure } from './proxy/measure.ts';
import { phases } from './proxy/phases.ts';
import { pin } from './proxy/pin.ts';
await using stack = new AsyncDisposableStack();
const upstream = stack.use(await startWorker('test/bench/proxy/upstream.ts'));
const load = stack.use(await startWorker('test/bench/proxy/load.ts'));
pin([upstream.pid, load.pid], 'others');
const bareW = stack.use(await startWorker('test/bench/proxy/bare.ts', [`http://127.0.0.1:${upstream.port}`]));
const bare = { port: bareW.port, headers: { authorization: 'Bearer sk-bench' }, pids: { gateway: [bareW.pid] }, [Symbol.asyncDispose]: async () => undefined };
const toka = await openToka(upstream.port);
for (const c of [bare, toka]) for (const [k, own = []] of Object.entries(c.pids)) pin(own as number[], k === 'gateway' ? 'first' : 'others');
const names = (process.argv[2] ?? 'uncached32').split(',');
for (const n of names) for (const r of [1, 2]) for (const [name, c] of [['bare', bare], ['toka', toka]] as const) {
  const phase = (phases as any)[n];
  if (!phase.of.includes(name)) continue;
  const m = await measure({ load, upstream }, c as any, phase, { warmMs: r === 1 ? 2000 : 300, measureMs: 3000 });
  console.log(n, name, Math.round(m.requests / m.seconds), 'req/s', 'p50', m.p50Ms.toFixed(2), 'first', m.firstP50Ms.toFixed(2), Object.entries(m.cpuMs).map(([k, v]) => `${k} ${(v * 1000 / m.requests).toFixed(0)} us`).join(' '));
}
if (process.env.PROF) { process.kill(toka.pids.gateway![0]!, 'SIGTERM'); await new Promise((r) => setTimeout(r, 4000)); }
await toka[Symbol.asyncDispose]();
