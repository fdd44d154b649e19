/** Making a group: its name and who is in it. */

import { useSignal } from '@preact/signals';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { go } from '../route.ts';
import { t } from '../text.ts';
import { PaneHead } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Field } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { PickPeople } from './pick-people.tsx';

export const TITLE_MAX = 100;

export function NewGroup() {
  const store = useStore();
  const title = useSignal('');
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const form = useSubmit(async () => {
    const conversation = await store.client.createGroup(cleanLine(title.value), [...chosen.value]);
    go({ at: 'chat', conversation, about: false }, true);
  });
  return (
    <div class="page">
      <PaneHead title={t.group.new} />
      <form class="page-body form" onSubmit={form.onSubmit}>
        <Field label={t.group.title} value={title.value} onInput={(value) => (title.value = value)} hint={t.group.titleHint} wrong={form.wrong} maxLength={TITLE_MAX} autoFocus />
        <PickPeople chosen={chosen.value} onChange={(next) => (chosen.value = next)} />
        <div class="sticky-actions">
          <span class="note" aria-live="polite">
            {t.group.chosen(chosen.value.size)}
          </span>
          <Button look="main" submit busy={form.busy} disabled={cleanLine(title.value) === '' || chosen.value.size === 0}>
            {t.group.create}
          </Button>
        </div>
      </form>
    </div>
  );
}
