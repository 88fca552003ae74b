import { check } from './check.ts';
import type { Findings } from './findings.ts';
import { code, count } from './markdown.ts';
import type { Plan } from './plan.ts';
import type { Section } from './section.ts';
import { files } from './sections/files.ts';
import type { Task } from './task.ts';

/** Writes the report: the longest that meets the plan's criteria, else simply the longest. */
export function writeReport(plan: Plan, findings: Findings, task: Task, charsMax: number): string {
  const candidates = [1, 1 / 3, 1 / 10, 1 / 30, 1 / 100].flatMap((share) =>
    [plan.sections, [...plan.sections, { ...files, heading: 'All that was listed' }]].map((sections) =>
      compose(plan.title, sections, findings, task, charsMax * share),
    ),
  );
  const good = candidates.find((content) => check(plan.criteria, content).problems.length === 0);
  return good ?? candidates[0] ?? '';
}

function compose(
  title: string,
  sections: readonly Section[],
  findings: Findings,
  task: Task,
  charsMax: number,
): string {
  const share = charsMax / Math.max(sections.length, 1);
  const parts = sections.map((section) =>
    [`## ${section.heading}`, '', ...fit(section.render(findings, task), share)].join('\n'),
  );
  return `${[`# ${title}`, ...parts, ...failed(findings), madeFrom(findings)].join('\n\n')}\n`;
}

/** As many lines as have room, but always the first one that says something. */
function fit(lines: readonly string[], charsMax: number): string[] {
  let left = charsMax;
  const cut = lines.findIndex((line) => (left -= line.length + 1) < 0);
  if (cut < 0) return [...lines];
  const kept = lines.slice(0, Math.max(cut, 1));
  return [...kept, '', `${lines.length - kept.length} more lines were left out here.`];
}

function failed({ failures }: Findings): string[] {
  if (failures.length === 0) return [];
  return [
    `What could not be looked at:\n\n${failures
      .slice(0, 10)
      .map((failure) => `- ${code(failure)}`)
      .join('\n')}`,
  ];
}

/** The honest last line: who wrote this, and from what. */
export const madeFrom = ({ files: listed = [], reads, searches }: Findings) =>
  `Made by Toka's demo provider, by rules, from ${count(listed.length, 'file')} listed and ${reads.size} read` +
  `${searches.size > 0 ? `, and ${count(searches.size, 'search').replace(/searchs$/, 'searches')}` : ''}.`;
