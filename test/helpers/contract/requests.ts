import fc from 'fast-check';
import { arbitraryOf, broken } from './arbitrary.ts';
import type { Document, Operation } from './document.ts';

export type Request = {
  operation: Operation;
  path: string;
  headers: Record<string, string>;
  /** As it is sent. */
  body: string | undefined;
};

/** Ids of what there is, by the beginnings of their operations' paths, and of what may be deleted; and tokens, the first of which may all. */
export type World = { ids: Record<string, string[]>; doomed: string[]; tokens: string[] };

const nonsense = fc.oneof(
  fc.constantFrom('0', '-1', '1e9', '%', 'null', '%00', '..%2f', "' OR 1=1 --", 'a'.repeat(300), '{}', '*', '>', 'ä'),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
);
const headerText = fc.oneof(
  fc.constantFrom('"17"', '*', '0', 'k1', 'k2', 'wait=0', ' '),
  fc.stringMatching(/^[!-~]{1,30}$/),
);
const asText = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
/** Two thirds: to one that is wrong at once, nothing further of a request comes to light. */
const mostly = <T>(likely: fc.Arbitrary<T>, else_: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: likely, weight: 8 }, { arbitrary: else_, weight: 1 });

/** Requests to one operation: some as it takes them, most with something wrong. */
function requestTo(operation: Operation, { root }: Document, { ids, doomed, tokens }: World): fc.Arbitrary<Request> {
  const { method, path, parameters, requestBody } = operation;
  const known = method === 'DELETE' ? doomed : (ids[path.split('/')[1] ?? ''] ?? []);
  const inPath = fc.record(
    Object.fromEntries(
      parameters
        .filter((each) => each.in === 'path')
        .map(({ name, schema }) => {
          const fit = fc.oneof(
            fc.constantFrom(...(known.length > 0 ? known : ['x'])),
            arbitraryOf(schema, root).map(asText),
          );
          return [name, mostly(fit, nonsense)];
        }),
    ),
  );
  const of = (where: 'query' | 'header', wrong: fc.Arbitrary<string>) =>
    fc.record(
      Object.fromEntries(
        parameters
          .filter((each) => each.in === where)
          .map(({ name, schema }) => {
            const fit = arbitraryOf(schema, root).map(asText);
            // What has not happened yet is waited for, which takes two seconds.
            return [name, mostly(name === 'minSeq' ? mostly(fc.constantFrom('0', '1'), fit) : fit, wrong)];
          }),
      ),
      { requiredKeys: [] },
    );
  const query = fc.tuple(
    of('query', nonsense),
    mostly(fc.constant({}), fc.dictionary(nonsense, nonsense, { maxKeys: 2 })),
  );
  const { schema = {}, example } = requestBody?.content['application/json'] ?? {};
  // The example is right in all that a schema cannot say, so that more than the reading of a body is reached.
  const json = fc.oneof(fc.constant(example), arbitraryOf(schema, root));
  const body = fc.oneof(
    { arbitrary: json.map((value) => JSON.stringify(value)), weight: 6 },
    { arbitrary: broken(json).map((value) => JSON.stringify(value)), weight: 6 },
    fc.constantFrom('', '{', 'null', '[]', '"', '{"a":1e999}', `{"__proto__":{}}`, '['.repeat(200)),
  );
  const own = fc.record({
    authorization: mostly(fc.constant(tokens[0]), fc.constantFrom(...tokens)).map((token) => `Bearer ${token}`),
    'content-type': mostly(fc.constant('application/json'), fc.constantFrom('text/plain', 'application/x+json', '')),
  });
  return fc
    .record({
      inPath,
      query,
      headers: of('header', headerText),
      own,
      body: requestBody ? body : fc.constant(undefined),
    })
    .map((made) => {
      const search = new URLSearchParams({ ...made.query[1], ...made.query[0] }).toString();
      const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(made.inPath[name] || 'x'));
      const headers = Object.fromEntries(
        // A header is bytes of Latin-1 without control characters: what is not cannot be sent.
        Object.entries({ ...made.headers, ...made.own }).filter(([, value]) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)),
      );
      // Nobody waits here for runs that no runner does.
      if (headers.Prefer?.includes('wait')) headers.Prefer = 'wait=0';
      return { operation, path: `${filled}${search ? `?${search}` : ''}`, headers, body: made.body };
    });
}

/** So many requests, spread over all operations. The same seed makes the same ones. */
export function requestsTo(document: Document, world: World, count: number, seed: number): Request[] {
  const arbitraries = document.operations.map((operation) => requestTo(operation, document, world));
  const each = Math.ceil(count / arbitraries.length);
  const byOperation = arbitraries.map((arbitrary, index) =>
    fc.sample(arbitrary, { numRuns: each, seed: seed + index }),
  );
  // One of each in turn, so that they meet each other's doings.
  return Array.from({ length: each }, (_, turn) => byOperation.flatMap((made) => made[turn] ?? []))
    .flat()
    .slice(0, count);
}
