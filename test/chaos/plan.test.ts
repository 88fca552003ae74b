import test from 'ava';
import { readOptions } from './options.ts';
import type { PlanOptions } from './plan.ts';
import { allKinds, makePlan } from './plan.ts';
import { createRandom } from './random.ts';

const victims = {
  service: ['gateway-1', 'store-1', 'agent-runner-1', 'agent-runner-2'],
  server: ['nats', 'redis'],
  link: ['gateway-1 > nats', 'store-1 > nats', 'agent-runner-1 > nats'],
  disk: ['store-1'],
};
const options: PlanOptions = { seed: 7, lengthMs: 1_800_000, everyMs: 3_000, kinds: allKinds, victims };

const all = (names: readonly string[]) => [...new Set(names)].sort();

test('a plan is a function of its seed alone', (t) => {
  t.deepEqual(makePlan(options), makePlan(options));
  t.notDeepEqual(makePlan(options), makePlan({ ...options, seed: 8 }));
});

test('a plan is today what it was when a seed was written down', (t) => {
  const [first, second] = makePlan(options);
  t.deepEqual(first, { id: 1, atMs: 1100, kind: 'kill', victim: 'redis', forMs: 2157, amount: 0 });
  t.deepEqual(second, { id: 2, atMs: 3311, kind: 'cut', victim: 'store-1 > nats', forMs: 720, amount: 0 });
});

test('a long plan does everything to everyone, and is over in time', (t) => {
  const plan = makePlan(options);
  t.deepEqual(all(plan.map(({ kind }) => kind)), all(allKinds));
  t.deepEqual(all(plan.map(({ victim }) => victim)), all(Object.values(victims).flat()));
  t.true(plan.every(({ atMs, forMs }) => atMs + forMs <= options.lengthMs));
  t.true(plan.length > options.lengthMs / options.everyMs / 2, `${plan.length} faults`);
  t.deepEqual(
    plan.map(({ atMs }) => atMs),
    plan.map(({ atMs }) => atMs).sort((a, b) => a - b),
  );
});

test('nobody has two faults at a time, and no more than three last at once', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const plan = makePlan({ ...options, seed, lengthMs: 300_000, everyMs: 300 });
    for (const { atMs, victim, id } of plan) {
      const lasting = plan.filter((other) => other.id < id && other.atMs + other.forMs > atMs);
      t.true(lasting.length < 3);
      t.false(lasting.some((other) => other.victim === victim));
    }
  }
});

test('only the faults that were chosen are planned, and none where there is nobody for them', (t) => {
  const plan = makePlan({ ...options, kinds: ['kill', 'cut'] });
  t.deepEqual(all(plan.map(({ kind }) => kind)), ['cut', 'kill']);
  t.deepEqual(makePlan({ ...options, kinds: ['disk'], victims: { ...victims, disk: [] } }), []);
});

test('what is between two bounds lies between them, and spreads', (t) => {
  const random = createRandom(3);
  const values = Array.from({ length: 1_000 }, () => random.between(10, 20));
  t.true(values.every((value) => value >= 10 && value < 20));
  t.true(values.some((value) => value < 11) && values.some((value) => value > 19));
});

test('the command line is read, and what is wrong in it is named', (t) => {
  const read = readOptions(['--seed', '7', '--minutes', '30', '--agents', '200', '--only', 'kill, cut']);
  t.like(read, { seed: 7, minutes: 30, agents: 200, kinds: ['kill', 'cut'], plant: undefined, untilFirst: false });
  t.true(readOptions(['--plant', 'no-fence']).untilFirst);
  t.throws(() => readOptions(['--minutes', 'ten']), { message: /^--minutes must be a number from .* is "ten"$/ });
  t.throws(() => readOptions(['--only', 'flood']), { message: /^--only: there is no fault "flood"; there are kill, / });
  t.throws(() => readOptions(['--plant', 'moss']), { message: /^--plant: there is no bug "moss"; there are no-fence/ });
});
