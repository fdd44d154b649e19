/** News about keys and devices that must not be missed. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { attempt } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { go } from '../route.ts';
import { t } from '../text.ts';
import { Button, IconButton } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';

export function KeyChanged() {
  const store = useStore();
  const person = store.keyChanged.value;
  if (person === null) return null;
  const close = () => (store.keyChanged.value = null);
  const name = store.nameOf(person.account) === t.someone ? person.name : store.nameOf(person.account);
  return (
    <Dialog title={t.compare.changedTitle(name)} onClose={close}>
      <p class="soft">{t.compare.changedText}</p>
      <div class="actions">
        <Button look="red" onClick={() => attempt(() => store.client.acceptKey(person.account)).then(close)}>
          {t.compare.accept}
        </Button>
        <Button look="main" onClick={close} autoFocus>
          {t.compare.later}
        </Button>
      </div>
    </Dialog>
  );
}

/** A device that came to the account after this one: it stands among the conversations, and stays until somebody has seen it. */
export function NewDevice() {
  const store = useStore();
  const device = store.newDevice.value;
  const name = useSignal<string | null>(null);
  useEffect(() => {
    name.value = null;
    if (device === null) return;
    store.client.devices().then(
      (devices) => {
        const fresh = devices.find((other) => other.device === device);
        if (fresh !== undefined) name.value = cleanLine(fresh.name);
      },
      () => undefined,
    );
  }, [device]);
  if (device === null || name.value === null) return null;
  const close = () => (store.newDevice.value = null);
  return (
    <section class="notice-bar" role="status">
      <span>{t.settings.newDevice(name.value)}</span>
      <Button
        look="plain"
        onClick={() => {
          close();
          go({ at: 'settings', page: 'devices' });
        }}
      >
        {t.settings.seeDevices}
      </Button>
      <IconButton icon="close" label={t.dismiss} tip="none" onClick={close} />
    </section>
  );
}
