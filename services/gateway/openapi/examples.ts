import { version } from '#shared/version.ts';
import {
  agent,
  agentStatus,
  approval,
  artifacts,
  event,
  key,
  memory,
  run,
  spec,
  status,
  step,
  usageRow,
  webhook,
} from './example-values.ts';

type Shown = { body?: unknown; answer?: unknown };

const page = (...items: unknown[]) => ({ items, nextCursor: null });
const holiday = { reason: 'a holiday' };

/** What each operation is sent and what it answers, by its id. */
const examples: Record<string, Shown> = {
  'get-agents': { answer: page(agent) },
  'post-agents': { body: spec, answer: agent },
  'get-agents-by-id': { answer: agent },
  'put-agents-by-id': { body: spec, answer: agent },
  'get-agents-by-id-memories': { answer: page(memory) },
  'post-agents-by-id-pause': { body: holiday, answer: { ...agent, status: 'paused', version: 42 } },
  'post-agents-by-id-resume': { body: {}, answer: agent },
  'post-agents-by-id-runs': { body: { objective: 'changelog' }, answer: run.queued },
  'post-agents-by-id-backfill': {
    body: { from: '2026-01-01T00:00:00Z', to: '2026-01-03T00:00:00Z' },
    answer: { queued: [run.queued.id], already: [] },
  },
  'get-agents-status': { answer: { items: [agentStatus] } },
  'get-runs': { answer: page(run.completed) },
  'get-runs-by-id': { answer: run.completed },
  'post-runs-by-id-retry': { body: {}, answer: run.queued },
  'post-runs-by-id-cancel': {
    body: { reason: 'no longer needed' },
    answer: { ...run.queued, status: 'cancelled', error: { code: 'cancelled', message: 'no longer needed' } },
  },
  'post-runs-by-id-pause': { body: holiday, answer: { ...run.queued, status: 'paused' } },
  'post-runs-by-id-resume': { body: {}, answer: run.queued },
  'post-runs-by-id-messages': { body: { text: 'Leave out the tests', mode: 'enqueue' }, answer: run.queued },
  'get-runs-by-id-state': {
    answer: { at: 42, run: run.queued, messages: [{ role: 'user', text: 'Keep the changelog' }] },
  },
  'post-runs-by-id-fork': {
    body: { at: 42, message: 'Leave out the tests', overrides: { model: 'smart' } },
    answer: { ...run.queued, forkOf: { runId: run.completed.id, at: 42 } },
  },
  'get-runs-by-id-events': { answer: page(event) },
  'get-runs-by-id-steps': { answer: page(step) },
  'get-runs-by-id-artifacts': { answer: artifacts },
  'get-runs-by-id-artifacts-by-name': { answer: '# Changelog\n' },
  'get-runs-by-id-diff': { answer: 'diff --git a/CHANGELOG.md b/CHANGELOG.md\n' },
  'get-approvals': { answer: page(approval) },
  'get-approvals-by-id': { answer: approval },
  'post-approvals-by-id': {
    body: { decision: 'answered', answer: true },
    answer: {
      ...approval,
      decided: {
        ...{ approvalId: approval.id, decision: 'answered', answer: true, reason: null },
        ...{ by: 'user:ann', at: '2026-01-05T09:00:55.000Z' },
      },
    },
  },
  'get-events': { answer: `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n` },
  'get-events-by-seq': { answer: event },
  'post-llm-keys': { body: { name: 'ci', models: ['gpt-*'] }, answer: { ...key, secret: 'toka_…' } },
  'get-llm-keys': { answer: page(key) },
  'get-llm-keys-by-id': { answer: key },
  'post-webhooks': {
    body: { url: webhook.url, types: webhook.types },
    answer: { ...webhook, secret: 'whsec_…' },
  },
  'get-webhooks': { answer: page(webhook) },
  'get-webhooks-by-id': {
    answer: { ...webhook, delivery: { seq: 42, failures: 0, failingSince: null, lastFailure: null } },
  },
  'post-webhooks-by-id-enable': { body: { reason: 'the receiver is back', skip: false }, answer: webhook },
  'post-webhooks-by-id-test': {
    answer: { outcome: 'delivered', status: 204, reason: 'it answered 204', durationMs: 41.2 },
  },
  'post-tokens-revoke': { body: { jti: '0b7d3a52-3a4e-4f43-9a3a-3f4f7c0d6c1e', reason: 'it was in a log' } },
  'get-usage': { answer: { items: [usageRow] } },
  'get-audit-verify': {
    answer: {
      ...{ intact: true, checked: 42, brokenAt: null, chainHead: 'c0ffee00'.repeat(8), damage: null },
      log: { checked: 42, missing: 0, firstMissing: null, differsAt: null },
      anchor: null,
    },
  },
  'get-audit-checkpoint': {
    answer: {
      ...{ seq: 42, chainHead: 'c0ffee00'.repeat(8), time: '2026-01-31T12:00:00.000Z' },
      publicKey: 'MCowBQYDK2VwAyEA…',
      signature: 'bW9zdCBvZiBhIHNpZ25hdHVyZQ…',
    },
  },
  'get-status': { answer: status },
  'get-health': { answer: { status: 'ok', version } },
  'get-metrics': { answer: 'toka_log_sequence{service="store"} 42\n' },
  'get-openapi.json': { answer: { openapi: '3.1.0' } },
  'get-docs': { answer: '<!doctype html>…' },
  'get-asyncapi.json': { answer: { asyncapi: '3.0.0' } },
};

const shown = (value: unknown) => (value === undefined ? {} : { example: value });

/** A run that was waited for. */
export const waitedExample = { example: run.completed };

/** What is shown of an operation, as it stands in a media type. */
export function exampleOf(operationId: string) {
  const { body, answer } = examples[operationId] ?? {};
  return { body: shown(body), answer: shown(answer) };
}
