/** Those that take minutes begin first: what is left at the end is short, and both processors have it. */
const longest = [
  'kill-matrix',
  'chaos/short',
  'restore',
  'chaos.test',
  'scheduling',
  'full-disk',
  'work',
  'abuse',
  'start',
  'people',
];

const rank = (file) => {
  const found = longest.findIndex((name) => file.includes(name));
  return found === -1 ? longest.length : found;
};

// biome-ignore lint/style/noDefaultExport: ava takes its configuration so
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  timeout: '3m',
  workerThreads: false,
  sortTestFiles: (a, b) => rank(a) - rank(b) || a.localeCompare(b),
};
