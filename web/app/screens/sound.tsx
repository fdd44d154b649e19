/** Which microphone and speaker calls use, and how. */

import { useId } from 'preact/hooks';
import { attempt } from '../act.ts';
import { useHost, type SoundDevice } from '../host.ts';
import { t } from '../text.ts';
import { Button } from '../ui/button.tsx';
import { Switch } from '../ui/field.tsx';

export function SoundChoice() {
  const { sound } = useHost();
  return (
    <div class="form">
      <Pick label={t.settings.microphone} devices={sound.microphones.value} chosen={sound.microphone.value} onChoose={(id) => void attempt(() => sound.chooseMicrophone(id))} />
      <Pick label={t.settings.speaker} devices={sound.speakers.value} chosen={sound.speaker.value} onChoose={(id) => void attempt(() => sound.chooseSpeaker(id))} />
      <Switch label={t.settings.suppressNoise} hint={t.settings.suppressNoiseHint} on={sound.suppressesNoise.value} onChange={(on) => void attempt(() => sound.suppressNoise(on))} />
      {!sound.isAllowed.value && (
        <>
          <p class="note">{t.settings.soundHint}</p>
          <Button icon="mic" onClick={() => attempt(() => sound.allow())}>
            {t.settings.allow}
          </Button>
        </>
      )}
    </div>
  );
}

function Pick({ label, devices, chosen, onChoose }: { label: string; devices: readonly SoundDevice[]; chosen: string; onChoose: (id: string) => void }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} class="input" value={chosen} onChange={(event) => onChoose(event.currentTarget.value)}>
        <option value="">{t.settings.standard}</option>
        {devices
          .filter((device) => device.id !== '' && device.label !== '')
          .map((device) => (
            <option key={device.id} value={device.id}>
              {device.label}
            </option>
          ))}
      </select>
    </div>
  );
}
