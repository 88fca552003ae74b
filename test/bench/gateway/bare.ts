import type { AddressInfo } from 'node:net';
import Koa from 'koa';

// The least that Koa can do: what the gateway's own work is held against.

const app = new Koa();
app.use((ctx) => {
  ctx.body = { hello: 'world' };
});
const server = app.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.once('disconnect', () => process.exit());
