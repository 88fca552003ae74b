import { createServer } from 'node:http';
import type Koa from 'koa';
import { Failure, messageOf } from '#shared/errors.ts';

const closeMsMax = 5_000;

/** Serves an app. Disposing it finishes the requests at hand. Throws `invalid` with the setting's name for a port that is taken. */
export async function listen(app: Koa, setting: string, port: number, host: string) {
  const server = createServer({ requestTimeout: 60_000, headersTimeout: 15_000 }, app.callback());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new Failure('invalid', `${setting}=${port}: ${messageOf(error)}`)));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : port,
    async [Symbol.asyncDispose]() {
      const late = setTimeout(() => server.closeAllConnections(), closeMsMax);
      server.closeIdleConnections();
      await new Promise((resolve) => server.close(resolve));
      clearTimeout(late);
    },
  };
}
