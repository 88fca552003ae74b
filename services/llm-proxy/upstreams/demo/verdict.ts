import { check } from './check.ts';
import { criteriaOf } from './criteria.ts';
import type { Task } from './task.ts';

/** Judges what was handed in by the rules that its validation's words amount to, and says what they were. */
export function verdictOn({ handedIn, validation }: Task): { pass: boolean; reasons: string[] } {
  if (handedIn === null) return { pass: false, reasons: ['There is nothing to judge: nothing was handed in.'] };
  const criteria = criteriaOf(validation);
  const { problems, met } = check(criteria, handedIn);
  if (problems.length > 0) return { pass: false, reasons: problems };
  const named = Object.values(criteria).some((each) => each.length > 0);
  const limits = named
    ? 'Only this was checked, by the rules of the demo provider; whether the content is true was not.'
    : 'The validation names nothing that the rules of the demo provider can check: only that it is not empty was checked.';
  return { pass: true, reasons: [...met, limits] };
}
