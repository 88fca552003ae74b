/** Cuts a text to at most `max` characters, and says so at its end. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  return `${text.slice(0, max)}\n[… ${text.length - max} more characters were left out]`;
}
