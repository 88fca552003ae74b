import { SignJWT } from 'jose';
import { jwtSecret } from './world.ts';

/** With which everything may be asked. */
export const adminToken = (): Promise<string> =>
  new SignJWT({ scope: 'admin' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('chaos')
    .setExpirationTime('1d')
    .sign(new TextEncoder().encode(jwtSecret));
