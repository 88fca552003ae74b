import type { RulesetDefinition } from '@stoplight/spectral-core';
import spectral from '@stoplight/spectral-core';
import rulesets from '@stoplight/spectral-rulesets';
import { routesOf } from '../routes.ts';
import { openApi } from './document.ts';

// Part of `npm run check`: Spectral's rules for OpenAPI over what the gateway says of itself. Any finding fails.

const { Spectral } = spectral;

/** The table alone: nothing of it is called. */
const { management } = routesOf({ isPublic: true } as Parameters<typeof routesOf>[0]);
const linter = new Spectral();
linter.setRuleset({
  extends: [rulesets.oas as RulesetDefinition],
  rules: {
    // It knows scopes of OAuth alone; OpenAPI 3.1 lets any scheme name what it takes, and a JWT here takes scopes.
    'oas3-operation-security-defined': 'off',
    'oas3-parameter-description': 'warn',
  },
});
const findings = await linter.run(JSON.parse(JSON.stringify(openApi(management))));
for (const { code, path, message } of findings) process.stderr.write(`${code} at ${path.join('.')}: ${message}\n`);
process.exit(findings.length > 0 ? 1 : 0);
