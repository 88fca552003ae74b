import type { CallOptions } from './client.ts';

type Page = { items: unknown[]; nextCursor: string | null };
type List = (input: never, options?: CallOptions) => Promise<Page>;
type Item<L extends List> = Awaited<ReturnType<L>>['items'][number];

/** Everything in a list, page after page: `each(client.listRuns, { status: 'failed' })`. */
export async function* each<L extends List>(
  list: L,
  input: NonNullable<Parameters<L>[0]>,
  options?: CallOptions,
): AsyncGenerator<Item<L>> {
  let more: { cursor?: string } | undefined = {};
  while (more) {
    const { items, nextCursor }: Page = await list({ ...(input as object), ...more } as never, options);
    yield* items as Item<L>[];
    more = nextCursor === null ? undefined : { cursor: nextCursor };
  }
}
