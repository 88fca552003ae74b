const known = new Set<string>();

/** Remembers a secret of this process, so that no log line, error or event shows it. Short values would hide ordinary words. */
export function rememberSecret(value: string): void {
  if (value.length < 6) return;
  known.add(value);
  known.add(JSON.stringify(value).slice(1, -1));
  known.add(encodeURIComponent(value));
}

/** The text with every known secret blotted out. */
export function scrub(text: string): string {
  let clean = text;
  for (const secret of known) clean = clean.replaceAll(secret, '[secret]');
  return clean;
}
