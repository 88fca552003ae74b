import * as barGauges from '@grafana/grafana-foundation-sdk/bargauge';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboards from '@grafana/grafana-foundation-sdk/dashboard';
import * as gauges from '@grafana/grafana-foundation-sdk/gauge';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import * as stats from '@grafana/grafana-foundation-sdk/stat';
import * as tables from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';

// The few kinds of panels that the dashboards are made of, so that all look and read alike.

export const prometheus = { type: 'prometheus', uid: 'prometheus' };

/** `unit` is one of Grafana's ids. Sizes are in its grid of 24 columns. */
export type PanelOptions = {
  title: string;
  /** What a person learns from it. */
  description: string;
  unit: string;
  /** PromQL by legend; the legend may use `{{label}}`. */
  queries: Record<string, string>;
  /** From which value on something deserves a look, and from which on a hand. */
  warn?: number;
  alarm?: number;
  /** A small value is the bad one: `warn` and `alarm` are upper ends. */
  lowIsBad?: boolean;
  max?: number;
  width?: number;
  height?: number;
  stacked?: boolean;
  /** The least time between two points, and so what `$__rate_interval` covers: long where little happens. */
  step?: string;
  /** Words for values, in place of the number. */
  words?: Record<string, string>;
};
type Panel = Parameters<dashboards.DashboardBuilder['withPanel']>[0];

const queriesOf = (queries: Record<string, string>) =>
  Object.entries(queries).map(([legend, expr], index) =>
    new DataqueryBuilder()
      .datasource(prometheus)
      .refId(String.fromCharCode(65 + index))
      .expr(expr)
      .legendFormat(legend),
  );

function thresholdsOf({ warn, alarm, lowIsBad = false }: PanelOptions) {
  const steps: dashboards.Threshold[] = lowIsBad
    ? [
        { value: null, color: 'red' },
        ...(alarm === undefined ? [] : [{ value: alarm, color: 'orange' }]),
        ...(warn === undefined ? [] : [{ value: warn, color: 'green' }]),
      ]
    : [
        { value: null, color: 'green' },
        ...(warn === undefined ? [] : [{ value: warn, color: 'orange' }]),
        ...(alarm === undefined ? [] : [{ value: alarm, color: 'red' }]),
      ];
  return new dashboards.ThresholdsConfigBuilder().mode(dashboards.ThresholdsMode.Absolute).steps(steps);
}

/** Nothing happened, so that there is no share or mean to tell: neither good nor bad. */
const nothing: dashboards.SpecialValueMap = {
  type: dashboards.MappingType.SpecialValue,
  options: { match: dashboards.SpecialValueMatch.NullAndNan, result: { text: 'none', color: 'text' } },
};

const mappingsOf = ({ words = {} }: PanelOptions): dashboards.ValueMapping[] => [
  nothing,
  ...Object.entries(words).map(
    ([value, text]): dashboards.ValueMap => ({
      type: dashboards.MappingType.ValueToText,
      options: { [value]: { text } },
    }),
  ),
];

const hasThresholds = ({ warn, alarm }: PanelOptions) => warn !== undefined || alarm !== undefined;

/** Lines over time. */
export function lines(options: PanelOptions): timeseries.PanelBuilder {
  const panel = new timeseries.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .targets(queriesOf(options.queries))
    .unit(options.unit)
    .min(0)
    .span(options.width ?? 8)
    .height(options.height ?? 8)
    .lineWidth(2)
    .fillOpacity(options.stacked ? 30 : 8)
    .showPoints(common.VisibilityMode.Auto)
    .spanNulls(60_000)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending),
    )
    .thresholds(thresholdsOf(options));
  if (options.max !== undefined) panel.max(options.max);
  if (options.step !== undefined) panel.interval(options.step);
  if (options.stacked) panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'));
  if (hasThresholds(options))
    panel.thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed));
  return panel;
}

/** How much there was in each piece of time: a minute, or more when the time shown is long. */
export const counts = (options: PanelOptions): Panel =>
  lines({ step: '1m', ...options, stacked: true })
    .drawStyle(common.GraphDrawStyle.Bars)
    .barAlignment(common.BarAlignment.Before)
    .lineWidth(0)
    .fillOpacity(80);

/** The newest value, large. What is summed up over the time shown is asked once, without a line behind it. */
export function number(options: PanelOptions): Panel {
  const isSum = Object.values(options.queries).some((expr) => expr.includes('$__range'));
  const panel = new stats.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .targets(queriesOf(options.queries).map((query) => (isSum ? query.instant() : query)))
    .mappings(mappingsOf(options))
    .unit(options.unit)
    .span(options.width ?? 4)
    .height(options.height ?? 4)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .colorMode(hasThresholds(options) ? common.BigValueColorMode.Background : common.BigValueColorMode.None)
    .graphMode(isSum || options.words ? common.BigValueGraphMode.None : common.BigValueGraphMode.Area)
    .thresholds(thresholdsOf(options));
  return options.max === undefined ? panel : panel.max(options.max);
}

/** The newest value on a scale from 0 to `max`. */
export const dial = (options: PanelOptions & { max: number }): Panel =>
  new gauges.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .targets(queriesOf(options.queries))
    .unit(options.unit)
    .min(0)
    .max(options.max)
    .span(options.width ?? 4)
    .height(options.height ?? 6)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .thresholds(thresholdsOf(options));

/** A bar for each series, the longest first: `queries` is one, and sorted. */
export const ranking = (options: PanelOptions): Panel =>
  new barGauges.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .targets(queriesOf(options.queries).map((query) => query.instant()))
    .unit(options.unit)
    .min(0)
    .span(options.width ?? 8)
    .height(options.height ?? 8)
    .orientation(common.VizOrientation.Horizontal)
    .displayMode(common.BarGaugeDisplayMode.Basic)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .thresholds(thresholdsOf(options));

/** A row for each value of `label`, a column for each query. */
export function table(options: PanelOptions & { label: string }): Panel {
  const names = Object.keys(options.queries);
  const queries = queriesOf(options.queries).map((query) => query.instant().format(PromQueryFormat.Table));
  const columns = Object.fromEntries(names.map((name, index) => [`Value #${String.fromCharCode(65 + index)}`, name]));
  return new tables.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .targets(queries)
    .unit(options.unit)
    .span(options.width ?? 24)
    .height(options.height ?? 8)
    .thresholds(thresholdsOf(options))
    .withTransformation({ id: 'joinByField', options: { byField: options.label, mode: 'outer' } })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: Object.fromEntries(
          ['Time', ...names.map((_, index) => `Time ${index + 1}`)].map((key) => [key, true]),
        ),
        renameByName: columns,
      },
    });
}

/** A dashboard with its rows of panels, links to the others, and alerts as annotations. */
export function dashboard(
  { uid, title, description, variables = [] }: DashboardOptions,
  rows: Record<string, Panel[]>,
): dashboards.Dashboard {
  const made = new dashboards.DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(['toka'])
    .readonly()
    .timezone('browser')
    .refresh('10s')
    .time({ from: 'now-1h', to: 'now' })
    .tooltip(dashboards.DashboardCursorSync.Crosshair)
    .link(
      new dashboards.DashboardLinkBuilder('Toka')
        .type(dashboards.DashboardLinkType.Dashboards)
        .tags(['toka'])
        .asDropdown(false)
        .keepTime(true)
        .includeVars(false),
    )
    .annotation(
      new dashboards.AnnotationQueryBuilder()
        .name('Alerts')
        .datasource(prometheus)
        .enable(true)
        .iconColor('red')
        .expr('ALERTS{alertstate="firing"}')
        .titleFormat('{{alertname}}')
        .textFormat('{{severity}} {{job}} {{agent}} {{provider}} {{volume}}')
        .step('15s'),
    );
  for (const variable of variables) made.withVariable(variable);
  for (const [name, panels] of Object.entries(rows)) {
    made.withRow(new dashboards.RowBuilder(name));
    for (const panel of panels) made.withPanel(panel);
  }
  const built = made.build();
  for (const [index, panel] of (built.panels ?? []).entries()) panel.id = index + 1;
  // In sight, not in a menu.
  for (const each of [...(built.links ?? []), ...(built.annotations?.list ?? [])]) delete each.placement;
  return built;
}

type DashboardOptions = {
  uid: string;
  title: string;
  description: string;
  variables?: dashboards.QueryVariableBuilder[];
};

/** A choice of one, several or all values of a label. */
export const choice = (name: string, label: string, query: string) =>
  new dashboards.QueryVariableBuilder(name)
    .label(label)
    .datasource(prometheus)
    .query(query)
    .refresh(dashboards.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboards.VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ selected: true, text: 'All', value: '$__all' });
