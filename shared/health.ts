import { createServer } from 'node:http';
import type { Registry } from 'prom-client';

/** Whether an instance can do its work: each name is something that it needs. */
export type Health = { ready: boolean; checks: Record<string, string> };

/** Each container's own port: `/metrics`, `/health/live`, `/health/ready`. Port 0 takes any that is free. */
export async function serveHealth(
  port: number,
  host: string,
  registry: Registry | undefined,
  health: () => Promise<Health> | Health,
): Promise<{ port: number; [Symbol.asyncDispose](): Promise<void> }> {
  const server = createServer(async (request, response) => {
    const send = (status: number, type: string, body: string) =>
      response.writeHead(status, { 'content-type': type }).end(body);
    try {
      if (request.url === '/metrics' && registry) return send(200, registry.contentType, await registry.metrics());
      if (request.url === '/health/live') return send(200, 'application/json', '{"live":true}');
      if (request.url === '/health/ready') {
        const state = await health();
        return send(state.ready ? 200 : 503, 'application/json', JSON.stringify(state));
      }
      return send(404, 'text/plain', 'try /metrics, /health/live or /health/ready\n');
    } catch {
      return send(500, 'text/plain', 'an internal error\n');
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
