const pageBytesMax = 4 * 1024 ** 2;

type Columns<R, T> = {
  /** The row's JSON. */
  textOf(row: R): string;
  cursorOf(row: R): string | number;
  itemOf(row: R, value: unknown): T;
};

/** Cuts rows, of which there may be one more than `limit`, into a page that a message can carry. */
export function pageOf<R, T>(
  rows: readonly R[],
  limit: number,
  { textOf, cursorOf, itemOf }: Columns<R, T>,
): { items: T[]; nextCursor: string | null } {
  const items: T[] = [];
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    const text = textOf(row);
    bytes += Buffer.byteLength(text);
    const before = rows[index - 1];
    if (before !== undefined && (index >= limit || bytes > pageBytesMax))
      return { items, nextCursor: String(cursorOf(before)) };
    items.push(itemOf(row, JSON.parse(text)));
  }
  return { items, nextCursor: null };
}
