import type { JWTPayload, JWTVerifyOptions } from 'jose';
import { createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import { Failure, messageOf } from '#shared/errors.ts';

const skewSeconds = 30;
const jwksTimings = { timeoutDuration: 5_000, cooldownDuration: 5_000, cacheMaxAge: 600_000 };

export type TokenOptions = {
  /** HS256: what tokens are signed with, and what they were signed with before that was replaced. */
  secrets: readonly string[];
  /** RS256 and ES256: where the issuer's public keys are; they are fetched anew for a key that is not known yet. */
  jwksUrl?: string | undefined;
  /** What `iss` and `aud` must say, where they are set. */
  issuer?: string | undefined;
  audience?: string | undefined;
};

type Verify = (token: string) => Promise<JWTPayload>;

/**
 * Checks a JWT's signature and times. Which key is asked follows from the algorithm, and each kind of key takes its own algorithms alone: a
 * public key never serves as a secret. Throws an error of jose for a token that is no good, `unavailable` where the keys cannot be had.
 */
export function createVerifier({ secrets, jwksUrl, issuer, audience }: TokenOptions): Verify {
  const options: JWTVerifyOptions = {
    clockTolerance: skewSeconds,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  };
  const keys = secrets.map((secret) => new TextEncoder().encode(secret));
  const jwks = jwksUrl === undefined ? undefined : createRemoteJWKSet(new URL(jwksUrl), jwksTimings);
  return async (token) => {
    const { alg } = decodeProtectedHeader(token);
    if (alg === 'HS256' && keys.length > 0) return verifyWithAny(token, keys, { ...options, algorithms: ['HS256'] });
    if ((alg === 'RS256' || alg === 'ES256') && jwks)
      return (await jwtVerify(token, jwks, { ...options, algorithms: ['RS256', 'ES256'] }).catch(tellUnavailable))
        .payload;
    throw new errors.JOSEAlgNotAllowed('the algorithm is not one that is taken');
  };
}

/** The first key's refusal counts, unless it is for the signature and another key has made that. */
async function verifyWithAny(
  token: string,
  [key, ...others]: readonly Uint8Array[],
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, key ?? new Uint8Array(), options)).payload;
  } catch (error) {
    const isOther = error instanceof errors.JWSSignatureVerificationFailed && others.length > 0;
    if (isOther) return verifyWithAny(token, others, options);
    throw error;
  }
}

const notOurs = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

/** An issuer that does not answer is not the caller's fault, and may be back in a moment. */
function tellUnavailable(error: unknown): never {
  if (error instanceof errors.JOSEError && !notOurs.has(error.code)) throw error;
  throw new Failure('unavailable', `the keys at JWT_JWKS_URL cannot be had: ${messageOf(error)}`, { cause: error });
}
