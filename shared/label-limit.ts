/** Bounds a label: the first `max` values keep their names, whatever comes later is `other`. */
export function limitLabel(max: number): (value: string) => string {
  const known = new Set<string>();
  return (value) => {
    if (known.size < max) known.add(value);
    return known.has(value) ? value : 'other';
  };
}
