import { cp, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import test from 'ava';
import { makeCertificates } from '#test/helpers/certificates.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway } from '#test/helpers/gateway.ts';

/** Asks for /health: the status, and the serial number of the certificate that was shown. */
const look = (url: string, ca: Buffer) =>
  new Promise<{ status: number | undefined; serial: string }>((resolve, reject) => {
    request(`${url.replace('http:', 'https:')}/health`, { ca, agent: false, servername: 'localhost' }, (response) => {
      const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate();
      response.resume();
      resolve({ status: response.statusCode, serial: serialNumber });
    })
      .on('error', reject)
      .end();
  });

test('the gateway serves HTTPS, takes a renewed certificate, and keeps the old one where the new is no good', async (t) => {
  await using made = await makeCertificates();
  await using gateway = await startGateway({ TLS_CERT_FILE: made.cert, TLS_KEY_FILE: made.key });
  const ca = await made.ca();
  const first = await look(gateway.url, ca);
  t.is(first.status, 200);
  t.is((await look(gateway.management, ca)).status, 200);
  await t.throwsAsync(fetch(`${gateway.url}/health`), undefined, 'no plain HTTP');

  await made.make();
  const renewed = await eventually(async () => {
    const now = await look(gateway.url, ca);
    return now.serial !== first.serial && now;
  });
  t.is(renewed.status, 200);

  await cp(made.cert, `${made.cert}.old`);
  await writeFile(made.cert, 'no certificate');
  await new Promise((resolve) => setTimeout(resolve, 11_000));
  t.is((await look(gateway.url, ca)).serial, renewed.serial);
});

test('TLS settings that cannot work stop the start with what is wrong', async (t) => {
  await t.throwsAsync(startGateway({ TLS_CERT_FILE: 'nowhere.crt' }), { message: /TLS_KEY_FILE is required/ });
  await t.throwsAsync(startGateway({ TLS_CERT_FILE: 'nowhere.crt', TLS_KEY_FILE: 'nowhere.key' }), {
    message: /TLS_CERT_FILE nowhere\.crt and TLS_KEY_FILE nowhere\.key: ENOENT/,
  });
});
