/** Asking somebody to become a contact: by the exact name, or found in the directory. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Person } from '../../sdk/client.ts';
import { attempt, say } from '../act.ts';
import { useStore } from '../host.ts';
import { go } from '../route.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { PaneHead } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Field, Tabs } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { cleanName, nameProblem } from './names.ts';

const NOTE_MAX = 280;
const PREFIX_MIN = 3;
/** The directory answers 30 times an hour: it is asked when somebody has stopped typing. */
const PAUSE_MS = 600;

export function AddContact({ name: given }: { name: string }) {
  const how = useSignal<'name' | 'directory'>('name');
  const name = useSignal(given);
  return (
    <div class="page">
      <PaneHead title={t.contacts.add} />
      <div class="page-body">
        <Tabs
          label={t.contacts.add}
          value={how.value}
          options={[
            { value: 'name', label: t.contacts.byName },
            { value: 'directory', label: t.contacts.directory },
          ]}
          onChoose={(value) => (how.value = value)}
        />
        {how.value === 'name' ? (
          <ByName name={name.value} onName={(value) => (name.value = value)} />
        ) : (
          <Directory
            onPick={(person) => {
              name.value = person.name;
              how.value = 'name';
            }}
          />
        )}
      </div>
    </div>
  );
}

function ByName({ name, onName }: { name: string; onName: (name: string) => void }) {
  const store = useStore();
  const note = useSignal('');
  const form = useSubmit(async () => {
    const problem = nameProblem(name);
    if (problem !== null) return problem;
    await store.client.requestContact(cleanName(name), note.value);
    say(t.contacts.sent(cleanName(name)));
    go({ at: 'contacts' }, true);
    return null;
  });
  return (
    <form class="form" onSubmit={form.onSubmit}>
      <Field label={t.contacts.name} value={name} onInput={onName} wrong={form.wrong} autoFocus maxLength={64} />
      <Field label={`${t.contacts.note} (${t.optional})`} value={note.value} onInput={(value) => (note.value = value)} hint={t.contacts.noteHint} lines maxLength={NOTE_MAX} />
      <Button look="main" submit wide busy={form.busy}>
        {t.contacts.ask}
      </Button>
    </form>
  );
}

function Directory({ onPick }: { onPick: (person: Person) => void }) {
  const store = useStore();
  const prefix = useSignal('');
  const found = useSignal<Person[] | null>(null);
  const asked = prefix.value.trim().toLowerCase();
  useEffect(() => {
    found.value = null;
    if (asked.length < PREFIX_MIN) return undefined;
    const timer = setTimeout(() => {
      void attempt(async () => {
        const people = await store.client.search(asked);
        if (prefix.peek().trim().toLowerCase() === asked) found.value = people;
      });
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [asked]);
  return (
    <div class="form">
      <Field label={t.contacts.directorySearch} value={prefix.value} onInput={(value) => (prefix.value = value)} hint={t.contacts.directoryHint} autoFocus />
      <div aria-live="polite">
        {asked.length >= PREFIX_MIN && found.value === null && <p class="note">{t.loading}</p>}
        {found.value?.length === 0 && <p class="note">{t.contacts.directoryNone}</p>}
        <ul>
          {found.value?.map((person) => (
            <li key={person.account}>
              <button type="button" class="row" onClick={() => onPick(person)}>
                <Avatar name={person.name} />
                <span class="middle one-line">
                  <bdi>{person.name}</bdi>
                </span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
