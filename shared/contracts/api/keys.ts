import { z } from 'zod';
import { KeyId } from '#shared/contracts/ids.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import { KeyView } from '#shared/contracts/store.ts';
import { endpoint } from './endpoint.ts';
import { historyQuery, pageOf, seqQuery } from './paging.ts';

const params = z.object({ id: KeyId });

export const mintKey = endpoint({
  method: 'post',
  path: '/llm/keys',
  scope: 'admin',
  summary:
    'Mint a client key; its secret is in this answer alone, so a second request with the same Idempotency-Key gets 409 and the id',
  body: KeyTerms,
  isSecret: true,
  status: 201,
  answer: KeyView.extend({
    secret: z.string().describe('What the llm-proxy takes as API key. It is shown here only, and kept nowhere.'),
  }),
});

export const listKeys = endpoint({
  method: 'get',
  path: '/llm/keys',
  scope: 'admin',
  summary: 'List client keys, the newest first',
  query: historyQuery,
  answer: pageOf(KeyView),
});

export const getKey = endpoint({
  method: 'get',
  path: '/llm/keys/:id',
  scope: 'admin',
  summary: 'Read a client key',
  params,
  // Read from the log, it holds every write anyway.
  query: seqQuery,
  answer: KeyView,
});

export const revokeKey = endpoint({
  method: 'delete',
  path: '/llm/keys/:id',
  scope: 'admin',
  summary: 'Revoke a client key; what it did stays in the ledger',
  params,
  status: 204,
  answer: null,
});
