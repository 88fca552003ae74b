import { hash, randomBytes } from 'node:crypto';

const known = new Set<string>();

/** Remembers a secret of this process, so that no log line, error or event shows it. Short values would hide ordinary words. */
export function rememberSecret(value: string): void {
  if (value.length < 6) return;
  known.add(value);
  known.add(JSON.stringify(value).slice(1, -1));
  known.add(encodeURIComponent(value));
}

/** What looks like a secret whoever it belongs to. Each begins with something rare and is bounded: none takes long over any text. */
const shapes: readonly [RegExp, string][] = [
  [/\bsk-[A-Za-z0-9_-]{20,300}/g, '[secret]'],
  // Of a webhook, as Standard Webhooks writes it.
  [/\bwhsec_[A-Za-z0-9+/]{16,100}={0,2}/g, '[secret]'],
  // A client key's, see below; it may follow on the "n" of an escaped line's end.
  [/toka_[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]/g, '[secret]'],
  [
    /\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{30,255}|\bgithub_pat_[A-Za-z0-9_]{22,255}|\bglpat-[A-Za-z0-9_-]{20,255}/g,
    '[secret]',
  ],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, '[secret]'],
  [/(aws_secret_access_key["']?\s{0,5}[=:]\s{0,5}["']?)[A-Za-z0-9/+]{40}/gi, '$1[secret]'],
  [/\bxox[abeoprs]-[A-Za-z0-9-]{10,255}/g, '[secret]'],
  [/\bAIza[A-Za-z0-9_-]{35}/g, '[secret]'],
  [/\bnpm_[A-Za-z0-9]{36}\b/g, '[secret]'],
  [/\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,2000}/g, '[secret]'],
  [
    /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\:,.-]{0,10000}?-----END [A-Z ]{0,30}PRIVATE KEY-----/g,
    '[secret]',
  ],
  [
    /(\bauthorization["']?\s{0,5}[:=]\s{0,5}["']?(?:bearer|basic|token)\s{1,5})[A-Za-z0-9._~+/=-]{8,4000}/gi,
    '$1[secret]',
  ],
  [/(:\/\/[^\s/:@"']{1,100}:)[^\s/@"']{1,200}(?=@)/g, '$1[secret]'],
];

/** The text with every known secret blotted out, and what looks like one. */
export function scrub(text: string): string {
  let clean = text;
  for (const secret of known) clean = clean.replaceAll(secret, '[secret]');
  for (const [shape, instead] of shapes) clean = clean.replace(shape, instead);
  return clean;
}

/** What tokens are signed with where TOKA_DEV is set and no JWT_SECRET: everyone who reads this knows it. */
export const developmentSecret = 'the secret of development that is no secret at all';

/** A new secret of a client key: 32 random bytes that nobody can guess. */
export const newKeySecret = (): string => `toka_${randomBytes(32).toString('base64url')}`;

/** How long each of them is. */
export const keySecretChars = 48;

/** What a secret is known by: its SHA-256 in hexadecimal. */
export const hashOfSecret = (secret: string): string => hash('sha256', secret);
