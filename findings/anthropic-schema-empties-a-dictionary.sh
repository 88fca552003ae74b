#!/usr/bin/env bash
# What surprised: zodOutputFormat of @anthropic-ai/sdk makes of a dictionary (z.record, in JSON Schema an object with a schema as its
# additionalProperties) an object without properties and with additionalProperties false: {} is then all that a model may answer, and
# that fits the zod type, too, so nothing ever fails. Neither an error nor a warning tells of it.
# Seen with @anthropic-ai/sdk 1.12.0 and zod 4.6.7, 2026-11-30. Needs Node and npm.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @anthropic-ai/sdk@1.12.0 zod@4.6.7
cat >try.mjs <<'JS'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
const Weather = z.object({ degrees: z.record(z.string(), z.number()) });
const of = ({ type, properties, additionalProperties }) => JSON.stringify({ type, properties, additionalProperties });
console.log(of(z.toJSONSchema(Weather).properties.degrees));
console.log(of(zodOutputFormat(Weather).schema.properties.degrees));
console.log(JSON.stringify(Weather.parse({ degrees: {} })));
JS
wanted='{"type":"object","additionalProperties":{"type":"number"}}
{"type":"object","properties":{},"additionalProperties":false}
{"degrees":{}}'
[ "$(node try.mjs)" = "$wanted" ] && echo 'as described'
