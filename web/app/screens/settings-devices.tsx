/** The account's devices: named, and signed out. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Device } from '../../sdk/client.ts';
import { attempt, reasonOf } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { dateOf } from '../store/when.ts';
import { t } from '../text.ts';
import { Button, IconButton } from '../ui/button.tsx';
import { Ask, Dialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { Icon } from '../ui/icon.tsx';

const NAME_MAX = 64;

export function DevicesPage() {
  const store = useStore();
  const devices = useSignal<Device[] | null>(null);
  const wrong = useSignal<string | null>(null);
  const renames = useSignal<Device | null>(null);
  const revokes = useSignal<Device | null>(null);
  const read = async () => {
    try {
      devices.value = await store.client.devices();
      wrong.value = null;
    } catch (error) {
      wrong.value = reasonOf(error);
    }
  };
  useEffect(() => void read(), [store.newDevice.value]);
  if (devices.value === null) {
    return wrong.value === null ? (
      <p class="note">{t.loading}</p>
    ) : (
      <p class="wrong" role="alert">
        {wrong.value} <Button onClick={read}>{t.retry}</Button>
      </p>
    );
  }
  return (
    <>
      <ul class="devices">
        {[...devices.value]
          .sort((first, second) => Number(second.own) - Number(first.own))
          .map((device) => (
            <li key={device.device} class="row card">
              <span class="row-icon">
                <Icon name="device" />
              </span>
              <span class="middle">
                <span class="first one-line">
                  <bdi>{cleanLine(device.name)}</bdi>
                </span>
                <span class="second">{device.own ? t.settings.thisDevice : `${t.settings.made(dateOf(device.madeAt * 1000))} · ${t.lastSeen[device.lastSeen]}`}</span>
              </span>
              <IconButton icon="edit" label={`${t.settings.rename}: ${cleanLine(device.name)}`} tip="none" onClick={() => (renames.value = device)} />
              {!device.own && <IconButton icon="out" label={`${t.settings.revoke}: ${cleanLine(device.name)}`} tip="none" onClick={() => (revokes.value = device)} />}
            </li>
          ))}
      </ul>
      {renames.value && <Rename device={renames.value} onClose={() => (renames.value = null)} onDone={read} />}
      {revokes.value && (
        <Ask
          title={t.settings.revokeTitle(cleanLine(revokes.value.name))}
          text={t.settings.revokeText}
          yes={t.settings.revoke}
          onClose={() => (revokes.value = null)}
          onYes={async () => {
            const device = revokes.value?.device ?? '';
            await attempt(() => store.client.revokeDevice(device));
            revokes.value = null;
            await read();
          }}
        />
      )}
    </>
  );
}

function Rename({ device, onClose, onDone }: { device: Device; onClose: () => void; onDone: () => Promise<void> }) {
  const store = useStore();
  const name = useSignal(cleanLine(device.name));
  const form = useSubmit(async () => {
    await store.client.renameDevice(device.device, cleanLine(name.value));
    onClose();
    await onDone();
  });
  return (
    <Dialog title={t.settings.deviceName} onClose={onClose}>
      <form class="form" onSubmit={form.onSubmit}>
        <Field label={t.settings.deviceName} value={name.value} onInput={(value) => (name.value = value)} wrong={form.wrong} maxLength={NAME_MAX} autoFocus />
        <div class="actions">
          <Button look="main" submit busy={form.busy} disabled={cleanLine(name.value) === ''}>
            {t.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
