import { readdirSync, readFileSync } from 'node:fs';
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import test from 'ava';
import { createMetrics } from '#shared/metrics.ts';

type Panel = {
  id?: number;
  type: string;
  title?: string;
  description?: string;
  gridPos?: { x: number; y: number; w: number; h: number };
  datasource?: { uid?: string };
  targets?: { refId: string; expr: string; datasource?: { uid?: string } }[];
  fieldConfig?: { defaults: { unit?: string } };
};
const names = ['agent', 'llm', 'orchestration', 'system'];
const read = (name: string): Dashboard => JSON.parse(readFileSync(`grafana/dashboards/${name}.json`, 'utf8'));
const panelsOf = (dashboard: Dashboard) => (dashboard.panels ?? []) as unknown as Panel[];

/** Every metric that some service of ours exports, with what its histograms add. */
const ours = new Set(
  ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'].flatMap((service) => {
    const { registry } = createMetrics(service, 'test', 1);
    return registry.getMetricsAsArray().flatMap(({ name }) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]);
  }),
);

test('there are four dashboards, each with a name of its own, linked to the others, with alerts on it', (t) => {
  t.deepEqual(
    readdirSync('grafana/dashboards').toSorted(),
    names.map((name) => `${name}.json`),
  );
  t.is(new Set(names.map((name) => read(name).uid)).size, 4);
  for (const name of names) {
    const dashboard = read(name);
    t.deepEqual(dashboard.tags, ['toka']);
    t.true(
      dashboard.links?.some(({ type, tags }) => type === 'dashboards' && tags.includes('toka')),
      name,
    );
    t.true(
      dashboard.annotations?.list?.some(({ expr }) => expr?.includes('ALERTS')),
      name,
    );
  }
});

for (const name of names) {
  test(`${name}: every panel says what it shows, in a unit, from the datasource that is provisioned`, (t) => {
    const panels = panelsOf(read(name));
    t.true(panels.length > 10);
    t.is(new Set(panels.map(({ id }) => id)).size, panels.length, 'ids');
    for (const panel of panels.filter(({ type }) => type !== 'row')) {
      t.truthy(panel.description, panel.title);
      t.truthy(panel.fieldConfig?.defaults.unit, panel.title);
      t.is(panel.datasource?.uid, 'prometheus', panel.title);
      t.true((panel.targets ?? []).length > 0, panel.title);
      t.is(new Set(panel.targets?.map(({ refId }) => refId)).size, panel.targets?.length ?? 0, panel.title);
    }
  });

  test(`${name}: panels lie on the grid, and none on another`, (t) => {
    const cells = new Set<string>();
    for (const { title, gridPos } of panelsOf(read(name))) {
      if (!gridPos) return t.fail(`${title} has no place`);
      t.true(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          if (cells.has(`${x} ${y}`)) return t.fail(`${title} lies on another`);
          cells.add(`${x} ${y}`);
        }
    }
  });

  test(`${name}: every metric in it is one that a service exports`, (t) => {
    for (const { title, targets = [] } of panelsOf(read(name)))
      for (const { expr } of targets)
        for (const [metric] of expr.matchAll(/\b(?:toka|llm|gen_ai_client)_[a-z0-9_]+\b/g))
          t.true(ours.has(metric), `${title}: ${metric}`);
  });
}

test('every metric in a rule or an alert is one that a service exports, or a rule records', (t) => {
  const text = ['recording', 'alerts'].map((file) => readFileSync(`prometheus/rules/${file}.yml`, 'utf8')).join('\n');
  const recorded = new Set([...text.matchAll(/record: (\S+)/g)].map(([, name]) => name));
  const expressions = text.replaceAll(/^\s*#.*$|^ *(summary|description|runbook):.*$/gm, '');
  for (const [metric] of expressions.matchAll(/\b(?:toka|llm|gen_ai_client)_[a-z0-9_]+\b/g))
    t.true(ours.has(metric), metric);
  for (const [metric] of expressions.matchAll(/\b[a-z]+:[a-z_0-9]+:[a-z0-9_]+\b/g))
    t.true(recorded.has(metric), metric);
});

test('every alert has a runbook, and every runbook an alert', (t) => {
  const rules = readFileSync('prometheus/rules/alerts.yml', 'utf8');
  const alerts = [...rules.matchAll(/alert: (\S+)/g)].map(([, name]) => name ?? '');
  const headings = [...readFileSync('prometheus/runbooks.md', 'utf8').matchAll(/^## (\S+)$/gm)].map(
    ([, name]) => name ?? '',
  );
  t.deepEqual(headings, alerts);
  for (const name of alerts) t.true(rules.includes(`runbook: prometheus/runbooks.md#${name.toLowerCase()}\n`), name);
});
