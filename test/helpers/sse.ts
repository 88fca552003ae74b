export type Message = {
  id: number;
  event: string;
  data: { type: string; subject: string; data: { instance: string } };
};

/** Reads Server-Sent Events until the stream ends; comments are left out. */
export async function* readEvents(response: Response): AsyncGenerator<Message> {
  for await (const block of readBlocks(response)) {
    const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s)));
    if (fields.data !== undefined) yield { id: Number(fields.id), event: fields.event, data: JSON.parse(fields.data) };
  }
}

/** The blocks of an event stream as they are, comments included. */
export async function* readBlocks(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    yield* blocks;
  }
}
