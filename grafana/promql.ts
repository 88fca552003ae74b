// What increase() cannot say. Runs are few, and a series first appears with its first event already in it: increase() shows that event as
// nothing. A process never takes up the series of another, because `instance` is new at each start, so that no series ever falls.

/** Prometheus was there within a day before the window, but not at its beginning: what is new then cannot be told from what is old. */
const gap = (window: string) =>
  `(last_over_time(up{job="prometheus"}[1d] offset ${window}) unless on () up{job="prometheus"} offset ${window})`;

/** By how much each series of ours has grown in `window`, exactly: new ones from zero. After a gap it is what increase() makes of it. */
export function gained(series: string, window = '$__rate_interval'): string {
  const newest = `last_over_time(${series}[${window}])`;
  return `((${newest} - ${series} offset ${window}) or (${newest} unless on () ${gap(window)}) or increase(${series}[${window}]))`;
}

/** A share of all observations of a histogram takes at most this long. `by` are labels beside `le`. */
export const quantile = (share: number, histogram: string, by: readonly string[] = [], window?: string): string =>
  `histogram_quantile(${share}, sum by (${['le', ...by].join(', ')}) (${gained(histogram, window)}))`;

/** Every scheduler counts every run: how many counted, on average, so that a sum over them can be divided. */
export const schedulers = 'scalar(clamp_min(round(avg_over_time(count(up{job="scheduler"} == 1)[$__range:1m])), 1))';
