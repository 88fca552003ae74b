import { parentPort, workerData } from 'node:worker_threads';
import { readAnswerSchema } from '#shared/answer-schema.ts';

/** What is wrong with an answer, by its path; none: nothing is. */
export type Verdict = { path: string[]; message: string }[];

// A thread of its own, which is ended when it takes too long. Its time counts from when it is ready.
const problemsMax = 50;
parentPort?.once('message', () => {
  const { schema, answer } = workerData;
  const { error } = readAnswerSchema(schema).safeParse(answer);
  const problems = (error?.issues ?? []).slice(0, problemsMax);
  const verdict: Verdict = problems.map(({ path, message }) => ({ path: path.map(String), message }));
  parentPort?.postMessage(verdict);
});
parentPort?.postMessage('ready');
