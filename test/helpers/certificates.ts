import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from './temporary.ts';

const run = promisify(execFile);

/** An authority of its own and the gateway's certificate, which is for these names too; `make` renews it. */
export async function makeCertificates(...names: string[]) {
  const folder = await temporaryFolder();
  const make = () =>
    run('compose/certificates.sh', names, { env: { PATH: process.env.PATH, CERTIFICATES_DIR: folder.path } });
  await make();
  const file = (name: string) => join(folder.path, name);
  return {
    ...{ make, ca: () => readFile(file('ca.crt')) },
    ...{ caFile: file('ca.crt'), cert: file('gateway.crt'), key: file('gateway.key') },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
