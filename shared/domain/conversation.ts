import type { Recorded, RunEvent } from '#shared/contracts/events.ts';
import type { Answer, ChatMessage } from '#shared/contracts/llm.ts';

/** A run's events with every answer in full: what was kept by reference has been fetched. */
export type WholeEvent = Recorded<RunEvent> & { wholeAnswer?: Answer };

const goOn =
  'You have not handed in the deliverable yet. Go on with the work, and call submit_deliverable when it is done.';

/** The messages that follow a run's first one: each answer, each tool's result, each refusal, in the log's order. */
export function conversation(messages: readonly ChatMessage[], event: WholeEvent): readonly ChatMessage[] {
  switch (event.type) {
    case 'toka.run.step-completed.v1': {
      const answer = event.wholeAnswer ?? event.data.answer;
      if (!('text' in answer)) throw new Error(`event ${event.id}: its answer was not fetched`);
      const { text, toolCalls, reasoning } = answer;
      const said: ChatMessage = {
        role: 'assistant',
        text,
        toolCalls,
        ...(reasoning === undefined ? {} : { reasoning }),
      };
      return answer.toolCalls.length > 0 ? [...messages, said] : [...messages, said, { role: 'user', text: goOn }];
    }
    case 'toka.run.tool-returned.v1': {
      const { callId, text, isError } = event.data;
      return [...messages, { role: 'tool', callId, text, isError }];
    }
    case 'toka.run.deliverable-submitted.v1': {
      const { callId, name } = event.data;
      if (callId === null) return messages;
      return [
        ...messages,
        { role: 'tool', callId, text: `Submitted "${name}". It will now be checked.`, isError: false },
      ];
    }
    case 'toka.run.validated.v1': {
      if (event.data.pass) return messages;
      const reasons = event.data.reasons.map((reason) => `- ${reason}`).join('\n');
      return [
        ...messages,
        { role: 'user', text: `The deliverable was refused:\n${reasons}\nMend it and submit it again.` },
      ];
    }
    default:
      return messages;
  }
}
