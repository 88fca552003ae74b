import type { Credentials } from '../pivot.ts';

/** Which header holds the key, on all of OpenAI's wires. */
export const credentialHeaders = ({ key }: Credentials): Record<string, string> => ({ authorization: `Bearer ${key}` });
