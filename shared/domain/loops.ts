import type { Said } from './conversation.ts';

/** From here on a model is told that it goes round in a circle, and here the run fails. */
export const repeatsNoted = 3;
export const repeatsMax = 6;
const longestCircle = 2;

/** How often the last turn, or the last two in turn, were made with the same calls and the same results: 1 for no circle. */
export function repeatsOf(messages: readonly Said[]): number {
  const turns = turnsOf(messages);
  let most = 1;
  for (let length = 1; length <= longestCircle; length++) {
    const circle = turns.slice(-length).join('\n');
    let times = 1;
    if (turns.length < length || turns.slice(-length).includes('')) continue;
    while (turns.slice(-length * (times + 1), -length * times).join('\n') === circle) times += 1;
    most = Math.max(most, times);
  }
  return most;
}

/** Each turn of the model as its calls and what came of them; empty for one without. */
function turnsOf(messages: readonly Said[]): string[] {
  const turns: string[] = [];
  for (const message of messages.slice(-repeatsMax * longestCircle * 12)) {
    if (message.role === 'assistant')
      turns.push(message.toolCalls.map(({ tool, args }) => `${tool} ${JSON.stringify(args)}`).join('\n'));
    else if (message.role === 'tool' && turns.length > 0)
      turns.push(`${turns.pop()}\n${message.isError} ${message.text}`);
    // A person has said something: what came before is another story. A note of ours changes nothing.
    else if (message.role === 'user' && message.from !== 'note') turns.push('');
  }
  return turns;
}
