/** Choosing among one's contacts. */

import type { Contact } from '../../sdk/client.ts';
import { useStore } from '../host.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';

interface PickProps {
  chosen: ReadonlySet<string>;
  /** Accounts that are not to be chosen. */
  without?: ReadonlySet<string>;
  onChange: (chosen: ReadonlySet<string>) => void;
}

/** Names of contacts, chosen or not. */
export function PickPeople({ chosen, without, onChange }: PickProps) {
  const store = useStore();
  const people: Contact[] = [...store.contacts.value.values()].filter(({ state, person }) => state === 'accepted' && without?.has(person.account) !== true);
  if (people.length === 0) return <p class="note">{t.group.noContacts}</p>;
  const toggle = (name: string) => {
    const next = new Set(chosen);
    if (!next.delete(name)) next.add(name);
    onChange(next);
  };
  return (
    <fieldset>
      <legend class="field-label">{t.group.who}</legend>
      {people.map(({ person }) => (
        <label key={person.account} class="row pick">
          <Avatar name={person.name} shown={store.nameOf(person.account)} />
          <span class="middle one-line">
            <bdi>{store.nameOf(person.account)}</bdi>
          </span>
          <input type="checkbox" checked={chosen.has(person.name)} onChange={() => toggle(person.name)} />
        </label>
      ))}
    </fieldset>
  );
}
