#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// `toka <command>`, in the checkout `npm run toka -- <command>`. To read its source takes half of what a short command takes: that is kept, in
// a folder that is nobody else's.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/toka', import.meta.url)));

const { main } = await import('./toka/main.ts');
await main();
