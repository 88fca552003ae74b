/** Whether a subject is one that a filter of NATS means: `*` stands for one part, `>` for all that follow. */
export function matches(filter: string, subject: string): boolean {
  const wanted = filter.split('.');
  const parts = subject.split('.');
  for (const [index, part] of wanted.entries()) {
    if (part === '>') return parts.length > index;
    if (parts[index] === undefined || (part !== '*' && part !== parts[index])) return false;
  }
  return wanted.length === parts.length;
}
