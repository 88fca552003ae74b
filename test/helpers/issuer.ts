import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CryptoKey, JWTHeaderParameters, JWTPayload } from 'jose';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

type Algorithm = 'RS256' | 'ES256';
export type Key = { kid: string; alg: Algorithm; privateKey: CryptoKey; publicKey: CryptoKey };

export async function makeKey(kid: string, alg: Algorithm): Promise<Key> {
  return { kid, alg, ...(await generateKeyPair(alg, { extractable: true })) };
}

/** A token of these claims, for an hour unless they say otherwise. */
export const signed = (
  { kid, alg, privateKey }: Key,
  claims: JWTPayload,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> =>
  new SignJWT({ exp: Math.floor(Date.now() / 1000) + 3_600, ...claims })
    .setProtectedHeader({ alg, kid, ...header })
    .sign(privateKey);

/** Who signs tokens: its public keys are at `url`, those that it shows at the moment. */
export async function startIssuer(...keys: Key[]) {
  let shown = keys;
  let isUp = true;
  const server = createServer(async (_, response) => {
    if (!isUp) return void response.writeHead(503).end();
    const jwks = await Promise.all(
      shown.map(async ({ kid, alg, publicKey }) => ({ ...(await exportJWK(publicKey)), kid, alg, use: 'sig' })),
    );
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: jwks }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    show: (...now: Key[]) => {
      shown = now;
    },
    fail: () => {
      isUp = false;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
