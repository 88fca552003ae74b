import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Lets the upstream's bytes through to the client, and neither outlive the other. */
export function tie(client: Duplex, upstream: Socket, lingerMs: number): void {
  upstream.pipe(client);
  if (client.destroyed) upstream.destroy();
  client.once('close', () => upstream.destroySoon());
  upstream.once('close', () => {
    if (!upstream.readableEnded) return void client.destroy();
    // All was said: what is still under way to the client may arrive.
    const timer = setTimeout(() => client.destroy(), lingerMs).unref();
    client.once('close', () => clearTimeout(timer));
  });
}

/** Hands the client's bytes on, first those that were held back. */
export function release(client: Duplex, upstream: Socket, held: Buffer): void {
  upstream.write(held);
  client.pipe(upstream);
}
