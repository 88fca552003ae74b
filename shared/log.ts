import { Writable } from 'node:stream';
import { pino } from 'pino';
import { scrub } from './secrets.ts';

export type { Logger } from 'pino';

const secretFields = ['password', 'secret', 'token', 'authorization', 'apiKey', 'api_key'];

/** JSON lines on stdout. Fields named like a secret are left out, and known secrets are blotted out wherever they occur. */
export function createLogger(
  service: string,
  instance: string,
  level: string,
  out: NodeJS.WritableStream = process.stdout,
) {
  const scrubbing = new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      out.write(scrub(line));
      done();
    },
  });
  return pino(
    {
      level,
      base: { service, instance },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    },
    scrubbing,
  );
}
