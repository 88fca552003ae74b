import type { ExecutionContext } from 'ava';
import test from 'ava';
import { foldRun } from '#shared/command.ts';
import { leaveFor } from '#shared/domain/grants.ts';
import { parseExact } from '#shared/exact-json.ts';
import { connect, fixture, never } from '#test/fixtures/mcp/start.ts';
import { queued, recorded } from '#test/helpers/events.ts';
import { createCheck } from '../../services/agent-runner/mcp/arguments.ts';
import type { McpConnection } from '../../services/agent-runner/mcp/connect.ts';
import { aliasesOf, namesOf } from '../../services/agent-runner/mcp/names.ts';
import { readResult } from '../../services/agent-runner/mcp/result.ts';

const signal = never;
const hostile = (start = 'well') => fixture('hostile', start);

/** Calls a tool and answers its text; it must have failed or not, as is said. */
async function say(t: ExecutionContext, mcp: McpConnection, tool: string, isError: boolean, args: object = {}) {
  const result = await mcp.call(`mcp__test__${tool}`, args, { signal });
  t.is(result.isError, isError, result.text);
  return result.text;
}

test('whole numbers beyond 2^53 reach a server as the model wrote them, and come back so', async (t) => {
  await using mcp = await connect({ command: fixture('exact') });
  const json = '{"id":1790000000000000007,"most":-9223372036854775808,"any":1e400,"one":1.0}';
  const args = parseExact(json);
  const { isError, text } = await mcp.call('mcp__test__give', args, { signal });
  t.false(isError, text);
  t.is(text, json);
  const wrong = await mcp.call('mcp__test__give', parseExact('{"id":"1790000000000000007"}'), { signal });
  t.true(wrong.isError);
});

test('tools that are not what they should be are left out with why; what is shown of the others is plain', async (t) => {
  const env = { RUNNER_TOKEN: 'token-abcdef' };
  await using mcp = await connect({ command: hostile('lies'), secrets: { TOKEN: 'RUNNER_TOKEN' } }, { env });
  t.is(mcp.tools.length, 128);
  const find = (original: string) => mcp.tools.find((tool) => tool.original === original);
  for (const absent of ['remote', 'text', 'none', 'nested', 'big', 'sly', 'h\u202eidden'])
    t.is(find(absent), undefined);
  const why = mcp.problems.join('\n');
  for (const line of [
    /"remote" is left out: its input schema refers to another document/,
    /"text" is left out: its input schema is not of type object/,
    /"none" is left out: its input schema is no object/,
    /"nested" is left out: its input schema is nested more than 32 deep/,
    /"big" is left out: its input schema is longer than 65536 characters/,
    /"sly" is left out: its input schema names a field with hidden characters/,
    /"hidden" is left out: its name holds hidden characters/,
    /"good" is left out: its name is used twice/,
    /there are more than 128 tools/,
  ])
    t.regex(why, line);
  t.is(mcp.problems.length, 20);
  t.is(find('bidi')?.description, 'Safe words');
  t.is(find('bidi')?.inputSchema.description, 'inside');
  t.true((find('long')?.description.length ?? 0) < 2_100);
  t.is(find('leak')?.description, 'It has [secret].');
  t.is(find('leak')?.inputSchema.title, '[secret]');
  t.is(find('good')?.description, 'Good.');
  const names = mcp.tools.map(({ name }) => name);
  t.is(new Set(names).size, names.length);
  t.true(names.every((name) => /^mcp__test__[a-zA-Z0-9_-]{1,53}$/.test(name)));
  t.regex(find('dot.name')?.name ?? '', /^mcp__test__dot_name_[0-9a-f]{8}$/);
  t.not(find('dot.name')?.name, find('dot:name')?.name);
});

test('arguments are checked where the schema can be, and in no time', async (t) => {
  await using mcp = await connect({ command: hostile('lies'), env: { TOKEN: '' } });
  const text = await say(t, mcp, 'good', true, { n: 1.5, m: 2 });
  t.regex(
    text,
    /^The arguments of mcp__test__good are wrong; call it again with these mended:\n- n: .*int.*\n- the arguments: there is no m$/,
  );
  t.regex(await say(t, mcp, 'good', true), /- n: is missing; it must be of type/);
  const started = performance.now();
  // The server knows none of these and answers nothing: what counts is that they get as far as it.
  const stop = new AbortController();
  const calls = ['slow', 'bomb', 'loop', 'not'].map((tool) =>
    mcp.call(`mcp__test__${tool}`, { a: `${'a'.repeat(60)}!` }, { signal: stop.signal }),
  );
  const checkedIn = performance.now() - started;
  stop.abort(new Error('checked'));
  for (const call of calls) await t.throwsAsync(call, { message: 'checked' });
  t.true(checkedIn < 3_000, `${checkedIn} ms`);
});

test('a schema that grows where its references are followed is not begun with', (t) => {
  const chain = (links: number) => {
    const next = (link: number) => ({ $ref: `#/$defs/d${link}` });
    const defs = Array.from({ length: links }, (_, link) => [`d${link}`, { anyOf: [next(link + 1), next(link + 1)] }]);
    return {
      type: 'object',
      properties: { a: next(0) },
      $defs: { ...Object.fromEntries(defs), [`d${links}`]: { type: 'string' } },
    };
  };
  createCheck('t', chain(2))({ a: 1 });
  // Of this process's own: others on the machine do not count.
  const before = process.cpuUsage();
  for (let turn = 0; turn < 50; turn++) t.deepEqual(createCheck('t', chain(24))({ a: 1 }), { args: { a: 1 } });
  const tookMs = process.cpuUsage(before).user / 1_000;
  t.true(tookMs < 1_000, `${tookMs} ms`);
  t.true('problem' in createCheck('t', chain(4))({ a: 1 }), 'small ones are checked');
});

test('a person is asked for a tool by its own name, whatever models call it by', (t) => {
  const run = foldRun(recorded('run/run_1', [queued]));
  if (!run) return t.fail('there is no run');
  const capabilities = { primary: ['mcp:gh'], secondary: [] };
  const mayCall = (required: string[], tool: string) => {
    const definition = { ...run.definition, capabilities, approvals: { ...run.definition.approvals, required } };
    const [name = ''] = namesOf('gh', [...new Set([tool, 'delete_repo', 'delete.repo'])]);
    const wanted = { name, aliases: aliasesOf('gh', tool), needs: 'mcp:gh' as const };
    return leaveFor({ ...run, definition }, 'call_1', wanted, 'strict').may;
  };
  t.regex(namesOf('gh', ['delete_repo', 'delete.repo'])[0] ?? '', /^mcp__gh__delete_repo_[0-9a-f]{8}$/);
  t.is(mayCall(['mcp__gh__delete_repo'], 'delete_repo'), 'ask');
  t.is(mayCall(['mcp__gh__delete.repo'], 'delete.repo'), 'ask');
  t.is(mayCall([`mcp__gh__${'n'.repeat(70)}`], 'n'.repeat(70)), 'ask');
  t.is(mayCall(['mcp__gh__delete_repo'], 'list'), 'yes');
});

test('tools that no glob means are not offered, and not called', async (t) => {
  await using mcp = await connect({ command: hostile(), tools: ['ec*', '*ng', 'a*k'], read_only: ['echo'] });
  t.deepEqual(
    mcp.tools.map(({ original, readOnly, idempotent }) => [original, readOnly, idempotent]),
    [
      ['echo', true, true],
      ['hang', false, false],
      ['ask', false, false],
      ['nothing', false, false],
    ],
  );
  t.regex(await say(t, mcp, 'die', true), /^There is no tool/);
});

test('pictures are told by their bytes, and are few and small', (t) => {
  const png = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const image = (bytes: Buffer) => ({ type: 'image' as const, mimeType: 'image/jpeg', data: bytes.toString('base64') });
  const big = Buffer.concat([png, Buffer.alloc(3 * 1024 ** 2)]);
  const few = readResult({ content: [image(png), image(Buffer.from('<svg/>')), image(big)] }, 1_000);
  t.deepEqual(few.images, [{ mediaType: 'image/png', base64: png.toString('base64') }]);
  t.is(
    few.text,
    '[a picture was left out: it is not PNG, JPEG, GIF or WebP]\n[a picture was left out: it has more than 3145728 bytes]',
  );
  const many = readResult({ content: Array.from({ length: 6 }, () => image(png)) }, 1_000);
  t.is(many.images.length, 4);
  t.is(many.text.match(/at most 4 are shown/g)?.length, 2);
});
