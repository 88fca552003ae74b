/** Cuts a text to at most `max` characters, and says so at its end. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  return `${text.slice(0, max)}\n[… ${text.length - max} more characters were left out]`;
}

/**
 * What a reader does not see, or sees as something else: control characters (but tabs and line ends), those that turn a text's direction
 * or take no room, spaces that are none, marks piled up, and letters of another alphabet within a Latin word.
 */
const unseen =
  /[^\P{C}\t\n]|[^\P{Z} ]|\p{Default_Ignorable_Code_Point}|\u2800|(?<=\p{M}{3})\p{M}|(?<=[A-Za-z])[\p{sc=Cyrillic}\p{sc=Greek}]|[\p{sc=Cyrillic}\p{sc=Greek}](?=[A-Za-z])/gu;

/** The same text with each of those written as its code, as JSON would have it: for a person who must see all of it. */
export const revealed = (text: string): string => text.replace(unseen, (found) => found.split('').map(codeOf).join(''));

const codeOf = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
