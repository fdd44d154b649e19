/** News about keys and devices that must not be missed. */

import { attempt } from '../act.ts';
import { useStore } from '../host.ts';
import { go } from '../route.ts';
import { t } from '../text.ts';
import { Button } from '../ui/button.tsx';
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

export function NewDevice() {
  const store = useStore();
  if (store.newDevice.value === null) return null;
  const close = () => (store.newDevice.value = null);
  return (
    <Dialog title={t.settings.devices} onClose={close}>
      <p class="soft">{t.settings.newDevice}</p>
      <div class="actions">
        <Button onClick={close}>{t.close}</Button>
        <Button
          look="main"
          onClick={() => {
            close();
            go({ at: 'settings', page: 'devices' });
          }}
        >
          {t.settings.look1}
        </Button>
      </div>
    </Dialog>
  );
}
