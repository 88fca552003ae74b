import test from 'ava';
import { connect } from 'nats';
import { adminUser } from '#shared/bus/users.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { passwordOf } from '#test/helpers/servers.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const agents = `
[[agents]]
name = "anna"
version = "1"
domain = "test"
priority = "high"
workstream = "main"
branch = "main"
repository = "$REPOSITORY"
capabilities = { primary = ["filesystem-read"], secondary = [] }
objectives = [{ description = "Make an inventory of the files", deliverable = "a.md", validation = "It has the heading \\"Files\\"" }]
`;

/** CloudEvents 1.0, section 3.1: what every event must have, and how it must look. */
function isCloudEvent(event: Record<string, unknown>): boolean {
  const text = (name: string) => typeof event[name] === 'string' && event[name] !== '';
  const names = Object.keys(event).filter((name) => name !== 'data');
  return (
    event.specversion === '1.0' &&
    ['id', 'source', 'type', 'subject', 'datacontenttype'].every(text) &&
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(String(event.time)) &&
    names.every((name) => /^[a-z0-9]{1,20}$/.test(name))
  );
}

test('a plain NATS client follows the events live, and a JetStream consumer from the start', async (t) => {
  await using system = await startSystem({ agents });
  const nc = await connect({ servers: system.nats.url, user: adminUser, pass: passwordOf(adminUser) });
  const live: { subject: string; event: Record<string, unknown> }[] = [];
  nc.subscribe('toka.events.>', { callback: (_, msg) => live.push({ subject: msg.subject, event: msg.json() }) });
  await nc.flush();
  const admin = await tokenOf('admin');
  const response = await fetch(`${system.api}/agents/anna/runs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
    body: '{"input": "What is this?"}',
  });
  t.is(response.status, 202);
  const { id } = (await response.json()) as { id: string };
  await system.saw(({ type, subject }) => type === 'toka.run.completed.v1' && subject === `run/${id}`);
  await eventually(() => system.events.filter(({ type }) => type === 'toka.run.completed.v1').length === 2);
  const last = await system.bus.lastSeq();
  await eventually(() => live.length > 0 && live.at(-1)?.event.id === system.events[last - 1]?.id);
  for (const { subject, event } of live) {
    t.true(isCloudEvent(event), JSON.stringify(event));
    // What a person asks for lies apart from what the services write.
    const [entity, own] = String(event.subject).split('/');
    t.is(subject, `toka.events.${event.decision ? 'decision' : entity}.${own}`);
  }
  const ids: unknown[] = [];
  const ordered = await nc.jetstream().consumers.get('EVENTS');
  for await (const msg of await ordered.fetch({ max_messages: last, expires: 5_000 })) {
    const event = msg.json<Record<string, unknown>>();
    t.true(isCloudEvent(event));
    ids.push(event.id);
  }
  t.deepEqual(
    ids,
    system.events.slice(0, last).map((event) => event.id),
  );
  await nc.close();
});
