/** The language of the words in `text.ts`: what is formatted, sorted or counted between them is in the same one. */

/** English as most of the world writes it: the day before the month, 24 hours. */
export const locale = 'en-GB';

const rules = new Intl.PluralRules(locale);

/** Picks the form for a number. */
export function plural(count: number, forms: { one: string; other: string }): string {
  return rules.select(count) === 'one' ? forms.one : forms.other;
}
