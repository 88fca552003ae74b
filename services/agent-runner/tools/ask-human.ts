import { z } from 'zod';
import { readAnswerSchema } from '#shared/answer-schema.ts';
import { Failure } from '#shared/errors.ts';
import { idFor } from '#shared/ids.ts';
import { scrub } from '#shared/secrets.ts';
import { revealed } from '#shared/text.ts';
import type { OwnContext } from './own.ts';
import { defineTool } from './tool.ts';

export const askHuman = defineTool({
  name: 'ask_human',
  description:
    'Asks a person, and waits for the answer; it may take hours. Ask only what cannot be found out, and once. With a schema the answer has that form.',
  needs: 'ask-human',
  idempotent: true,
  readOnly: false,
  input: z.strictObject({
    question: z
      .string()
      .trim()
      .min(1, 'must not be empty')
      .max(10_000)
      .describe('The question, with all that is needed to answer it.'),
    schema: z.record(z.string(), z.unknown()).optional().describe('JSON Schema of the answer. Default: a text.'),
    default: z.unknown().optional().describe('What counts as the answer when nobody answers in time.'),
    expires: z.number().min(1).max(2_592_000).optional().describe('Seconds to wait.'),
  }),
  async run({ journal, callId }: OwnContext, { question, schema, expires, ...more }) {
    const { run } = journal;
    const asked = run.approvals.find((each) => each.callId === callId && each.kind === 'question');
    if (!asked) {
      readAnswerSchema(schema ?? null);
      checkShown({ question, schema, default: more.default });
      const seconds = expires ?? run.definition.approvals.expires;
      await journal.record({
        type: 'toka.run.approval-requested.v1',
        data: {
          id: idFor('apr', run.queuedAt, run.id, callId),
          callId,
          kind: 'question',
          tool: 'ask_human',
          capability: null,
          question: revealed(question),
          schema: schema ?? null,
          ...(more.default === undefined ? {} : { default: more.default }),
          expiresAt: new Date(Date.now() + seconds * 1000).toISOString(),
        },
      });
    }
    const { decided } = asked ?? {};
    if (!decided) return { text: '', parked: true };
    if (decided.decision === 'denied')
      return { isError: true, text: `The person does not answer: ${decided.reason ?? 'no reason was given'}` };
    if (decided.answer === undefined)
      return { text: 'Nobody answered in time: decide for yourself, and say what you assumed.' };
    const answer = typeof decided.answer === 'string' ? decided.answer : JSON.stringify(decided.answer);
    return { text: decided.decision === 'expired' ? `Nobody answered in time; the default holds: ${answer}` : answer };
  },
});

/** Throws `invalid` where a person would not be shown what the model asks, for it holds a secret. */
function checkShown(asked: Readonly<Record<string, unknown>>): void {
  const [field] = Object.entries(asked).find(([, value]) => {
    const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
    return scrub(text) !== text;
  }) ?? [undefined];
  if (field)
    throw new Failure(
      'invalid',
      `${field}: holds what looks like a secret, which is shown to nobody. Ask without it: say where it is, not what it is.`,
    );
}
