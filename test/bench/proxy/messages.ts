// What goes over the wire in this bench: about 1 KiB there and 1 KiB back, or a stream of small events.

/** Each request has a number in this place, and its answer has it too: nobody is given another's answer. */
export const mark = '#000000000000';
export const markOf = (number: number) => `#${String(number).padStart(12, '0')}`;

export const contentEvents = 20;
/** With the one that says why it ended, and [DONE]. */
export const events = contentEvents + 2;
/** A request that has this gets its first event at once and the others later. */
export const late = 'first event at once, the others later';

export type Kind = 'answer' | 'cached' | 'stream' | 'late-stream';

const words = 'The report on the folder names each file, says what is in it and what may be done without. ';
const filler = (bytes: number) => words.repeat(Math.ceil(bytes / words.length)).slice(0, bytes);
const model = 'gpt-4o-mini';

/** The body of a request, with the mark in the place of its number. */
export function requestBody(kind: Kind): string {
  const stream = kind === 'stream' || kind === 'late-stream';
  return JSON.stringify({
    model,
    messages: [
      { role: 'system', content: `You are a careful assistant. ${filler(300)}` },
      { role: 'user', content: `Request ${mark}${kind === 'late-stream' ? `, ${late}` : ''}. ${filler(500)}` },
    ],
    // Never 0 where an answer must come from upstream: it might be kept.
    temperature: kind === 'cached' ? 0 : 1,
    max_tokens: 256,
    ...(stream ? { stream } : {}),
  });
}

const common = { id: `chatcmpl-${mark}`, created: 1_790_000_000, model, system_fingerprint: 'fp_bench' };

/** What upstream answers to a request that asks for no stream. */
export const answerBody = JSON.stringify({
  ...common,
  object: 'chat.completion',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: filler(700), refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 180, completion_tokens: 140, total_tokens: 320, prompt_tokens_details: { cached_tokens: 0 } },
});

const event = (rest: object) => `data: ${JSON.stringify({ ...common, object: 'chat.completion.chunk', ...rest })}\n\n`;
const choice = (delta: object, finish_reason: string | null) => ({ choices: [{ index: 0, delta, finish_reason }] });

/** The events of a stream. */
export const streamEvents: readonly string[] = [
  ...Array.from({ length: contentEvents }, (_, index) => event(choice({ content: `word ${index} ` }, null))),
  event(choice({}, 'stop')),
  'data: [DONE]\n\n',
];

/** The event before [DONE] of a stream whose request asks for it (`stream_options.include_usage`). */
export const usageEvent = event({
  choices: [],
  usage: { prompt_tokens: 180, completion_tokens: 140, total_tokens: 320 },
});
