const safe = Symbol('safe');

/** Text that is HTML already. */
export type Html = { readonly [safe]: string };

type Part = Html | string | number | undefined | readonly Part[];

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function written(part: Part): string {
  if (part === undefined) return '';
  if (typeof part === 'string' || typeof part === 'number')
    return String(part).replace(/[&<>"']/g, (letter) => escapes[letter] ?? letter);
  return safe in part ? part[safe] : part.map(written).join('');
}

/** A template of HTML: what is put into it is escaped unless it is HTML itself. */
export const html = (strings: TemplateStringsArray, ...parts: Part[]): Html => ({
  [safe]: strings.map((string, index) => string + written(parts[index])).join(''),
});

/** Text of ours that is HTML already. */
export const raw = (text: string): Html => ({ [safe]: text });

export const textOf = (page: Html): string => page[safe];

/** What stands between backticks is code. */
export const inline = (text: string): Html[] =>
  text.split('`').map((part, index) => (index % 2 ? html`<code>${part}</code>` : html`${part}`));

export const prose = (text: string): Html[] => text.split(/\n{2,}/).map((each) => html`<p>${inline(each)}</p>`);
