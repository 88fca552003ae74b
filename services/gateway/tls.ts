import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { SecureContextOptions, Server } from 'node:tls';
import { createSecureContext } from 'node:tls';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';

const lookMs = 10_000;

/** A certificate and its key, which may be renewed while they are in use. */
export type Tls = {
  options(): SecureContextOptions;
  /** Keeps a server on the newest certificate. */
  serve(server: Server): void;
  [Symbol.dispose](): void;
};

/** Reads both PEM files, and again whenever one changes: a pair that does not fit is refused and the old one kept. Throws `invalid`. */
export function watchTls(certFile: string, keyFile: string, logger: Logger): Tls {
  const servers: Server[] = [];
  let options = read(certFile, keyFile);
  const renew = () => {
    try {
      options = read(certFile, keyFile);
      for (const server of servers) server.setSecureContext(options);
      logger.info({ certFile }, 'a renewed certificate is in use');
    } catch (error) {
      logger.error({ reason: messageOf(error) }, 'a renewed certificate cannot be used; the old one stays');
    }
  };
  for (const file of [certFile, keyFile]) watchFile(file, { interval: lookMs, persistent: false }, renew);
  return {
    options: () => options,
    serve: (server) => void servers.push(server),
    [Symbol.dispose]() {
      for (const file of [certFile, keyFile]) unwatchFile(file, renew);
    },
  };
}

function read(certFile: string, keyFile: string): SecureContextOptions {
  try {
    const options = { cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2' } as const;
    createSecureContext(options);
    return options;
  } catch (error) {
    throw new Failure('invalid', `TLS_CERT_FILE ${certFile} and TLS_KEY_FILE ${keyFile}: ${messageOf(error)}`);
  }
}
