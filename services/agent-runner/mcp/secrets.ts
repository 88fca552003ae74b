import type { McpServer } from '#shared/contracts/mcp.ts';
import { Failure } from '#shared/errors.ts';
import { rememberSecret } from '#shared/secrets.ts';

const charsMin = 6;

/** The secrets that a server is given, by variable or header; from here on no text shows them. Throws `invalid` where one is not set. */
export function readSecrets(server: McpServer, secret: (name: string) => string | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(server.secrets).map(([name, variable]) => {
      const value = secret(variable)?.trim();
      const needs = `needs the secret ${name}, and ${variable}`;
      if (!value) throw new Failure('invalid', `${needs} is not set`);
      if (value.length < charsMin)
        throw new Failure('invalid', `${needs} has fewer than ${charsMin} characters: too few to be kept out of texts`);
      rememberSecret(value);
      const scheme = /^[A-Za-z-]+ +(?=\S)/.exec(value)?.[0];
      if (scheme) rememberSecret(value.slice(scheme.length));
      const bare = server.url && name.toLowerCase() === 'authorization' && !value.includes(' ');
      return [name, bare ? `Bearer ${value}` : value];
    }),
  );
}
