import test from 'ava';
import fc from 'fast-check';
import type { Draft, Recorded, RunEvent } from '#shared/contracts/events.ts';
import type { Said } from '#shared/domain/conversation.ts';
import { conversation, heardIn, note, ordered } from '#shared/domain/conversation.ts';
import { judged, queued, recorded, returned, step } from '#test/helpers/events.ts';

const turn = fc.record({
  /** How many messages of people come at each moment, and whether the runner has read of them when it asks. */
  before: fc.nat(2),
  isRead: fc.boolean(),
  during: fc.nat(2),
  between: fc.nat(1),
  calls: fc.nat(3),
  notes: fc.array(fc.constantFrom('[Hurry.]', '[A circle.]'), { maxLength: 2 }),
  isRefused: fc.boolean(),
});

test('each prompt of a run begins with the one before it, and its answer, whenever people speak and are heard', (t) => {
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 8 }), (turns) => {
      const log: Recorded[] = recorded('run/run_1', [queued]);
      const append = (draft: Draft) => void log.push(...recorded('run/run_1', [draft], log.length + 1));
      const say = (times: number) => {
        for (let count = 0; count < times; count++)
          append({ type: 'toka.run.message-received.v1', data: { text: `word ${log.length + 1}`, mode: 'enqueue' } });
      };
      // Its own events a runner knows at once, those of people once it has read them.
      let read = 0;
      const known = () =>
        log
          .filter(({ type, seq }) => type !== 'toka.run.message-received.v1' || seq <= read)
          .reduce<readonly Said[]>((all, event) => conversation(all, event as Recorded<RunEvent>), []);
      let last: Said[] = [];
      for (const [index, { before, isRead, during, between, calls, notes, isRefused }] of turns.entries()) {
        say(before);
        if (isRead) read = log.length;
        const messages = known();
        const prompt = [...ordered(messages), ...notes.map(note)];
        t.deepEqual(prompt.slice(0, last.length), last);
        t.true(index === 0 || prompt[last.length]?.role === 'assistant', 'what is new stands behind the answer');
        last = prompt;
        const heard = heardIn(messages);
        say(during);
        const { type, data } = step(
          `s${index}`,
          ...Array.from({ length: calls }, () => 'look'),
        ) as Draft<'toka.run.step-completed.v1'>;
        append({ type, data: { ...data, heard, ...(notes.length > 0 ? { notes } : {}) } });
        for (let call = 1; call <= calls; call++) {
          say(between);
          append(returned(`s${index}-${call}`));
        }
        if (isRefused) append(judged(false, 'too short'));
      }
      read = log.length;
      const words = ordered(known()).filter(({ text }) => text.startsWith('word '));
      t.is(words.length, log.filter(({ type }) => type === 'toka.run.message-received.v1').length, 'no word is lost');
    }),
    { numRuns: 300 },
  );
});
