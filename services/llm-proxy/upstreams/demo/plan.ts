import type { Call } from './calls.ts';
import { keyOf, listAll } from './calls.ts';
import { isHeading } from './check.ts';
import type { Criteria } from './criteria.ts';
import { criteriaOf } from './criteria.ts';
import { dependenciesSection } from './dependencies.ts';
import { headingsSection, overviewSection } from './documents.ts';
import { filesSection, languagesSection } from './files.ts';
import type { Findings } from './findings.ts';
import { marksSection } from './marks.ts';
import type { Section } from './section.ts';
import type { Task } from './task.ts';
import { testsSection } from './tests.ts';
import { wordSection } from './word.ts';

const known = [
  overviewSection,
  filesSection,
  languagesSection,
  headingsSection,
  marksSection,
  testsSection,
  dependenciesSection,
];
const wordsMax = 10;
const callsMax = 16;

export type Plan = { sections: Section[]; criteria: Criteria };

/** What the document is to hold: what the objective's words ask for, and every heading and mention that it will be judged by. */
export function planFor(task: Task): Plan {
  const criteria = allCriteria(task);
  const named = criteria.headings.map((heading) => {
    const section = known.find((each) => isHeading(each.heading, heading) || isHeading(heading, each.heading));
    return { section, shown: section ? { ...section, heading } : wordSection(heading, heading) };
  });
  const asked = known.filter(
    (each) => each.words.test(task.objective) && !named.some(({ section }) => section === each),
  );
  const mentioned = criteria.mentions.flatMap(([text = '']) =>
    text === '' ? [] : [wordSection(`On "${text}"`, text)],
  );
  const sections = [...named.map(({ shown }) => shown), ...asked];
  const all = sections.length > 0 ? sections : [overviewSection, filesSection];
  return { sections: [...all, ...mentioned.slice(0, wordsMax)], criteria };
}

/** What the validation names, and what refusals have named since: these say what is missing, never what is too much. */
function allCriteria({ validation, refusals }: Task): Criteria {
  const own = criteriaOf(validation);
  const all = [own, ...refusals.map(criteriaOf)];
  return {
    headings: [...new Set(all.flatMap(({ headings }) => headings))],
    bounds: all.flatMap(({ bounds }) => bounds),
    mentions: all.flatMap(({ mentions }) => mentions),
    forbidden: own.forbidden,
  };
}

/** What to look at next with the tools that there are; nothing: all has been looked at. */
export function nextCalls({ sections }: Plan, findings: Findings, offered: ReadonlySet<string>): Call[] {
  const isNew = (call: Call) => offered.has(call.tool) && !findings.made.has(keyOf(call));
  if (isNew(listAll)) return [listAll];
  const calls = sections.flatMap((section) => section.calls(findings)).filter(isNew);
  return [...new Map(calls.map((call) => [keyOf(call), call])).values()].slice(
    0,
    Math.max(0, callsMax - findings.made.size),
  );
}
