/** The call that one is in, makes, or has just had. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Call, CallQuality } from '../../sdk/client.ts';
import { attempt } from '../act.ts';
import { useHost, useStore } from '../host.ts';
import { back } from '../route.ts';
import { lasting, now } from '../store/when.ts';
import { locale } from '../text-locale.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Empty, Meter, PaneHead } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Icon, type IconName } from '../ui/icon.tsx';
import { placeCall } from './call-place.ts';
import { openChat } from './chats.tsx';
import { SoundChoice } from './sound.tsx';

export function CallScreen() {
  const store = useStore();
  const call = store.activeCall.value ?? [...store.calls.value.values()].findLast((other) => other.state === 'ended') ?? null;
  if (call === null) {
    return (
      <div class="page">
        <PaneHead title={t.call.voice} />
        <Empty title={t.cause['hung-up']} />
      </div>
    );
  }
  return <OneCall call={call} />;
}

function OneCall({ call }: { call: Call }) {
  const store = useStore();
  const name = store.nameOf(call.peer.account);
  const isOver = call.state === 'ended';
  const isMuted = useMuted(call).value;
  return (
    <section class={`call ${call.state}`} aria-label={t.call.label(name)}>
      <PaneHead title={t.call.voice} backAlways />
      <div class="call-stage">
        <span class="call-flag">
          <i aria-hidden="true" />
          <i aria-hidden="true" />
          <Avatar name={call.peer.name} shown={name} size="huge" />
        </span>
        <h2 class="call-name">
          <bdi>{name}</bdi>
        </h2>
        <p class="call-state" role="status">
          {stateOf(call)}
        </p>
        {!isOver && isMuted && <p class="call-muted">{t.call.muted}</p>}
        {call.connectedAtMs !== null && !isOver && <Timer since={call.connectedAtMs} />}
        {isOver && <Ended call={call} />}
        {call.state === 'connected' && <Quality quality={store.quality.value.get(call.call) ?? null} />}
      </div>
      {isOver ? <AfterCall call={call} /> : <CallTools call={call} />}
    </section>
  );
}

function stateOf(call: Call): string {
  switch (call.state) {
    case 'asking':
      return t.call.calling;
    case 'ringing':
      return call.direction === 'incoming' ? t.call.incomingTitle : t.call.ringing;
    case 'connected':
      return t.call.encrypted;
    case 'lost':
      return t.call.lost;
    case 'ended':
      return call.refusal !== null ? t.call.failed : call.cause === null ? t.cause['hung-up'] : t.cause[call.cause];
  }
}

function Ended({ call }: { call: Call }) {
  if (call.refusal !== null) return <p class="note">{call.refusal.text}</p>;
  if (call.connectedAtMs === null) return null;
  return <p class="note">{t.call.lasted(lasting(now() - call.connectedAtMs))}</p>;
}

/** Counts by itself, so that nothing else is drawn each second. */
export function Timer({ since }: { since: number }) {
  const shown = useSignal(lasting(now() - since));
  useEffect(() => {
    const timer = setInterval(() => (shown.value = lasting(now() - since)), 500);
    return () => clearInterval(timer);
  }, [since]);
  return (
    <span class="timer" role="timer">
      {shown}
    </span>
  );
}

/** Loss that is repaired is not heard: what was made up counts, then what was lost, then how late all is. */
export function soundsLike(quality: CallQuality | null): 'good' | 'fair' | 'poor' | 'silent' {
  if (quality === null) return 'silent';
  const late = quality.roundTripMs / 2 + quality.playoutDelayMs;
  if (quality.concealed > 0.08 || quality.lossIn > 0.25 || quality.lossOut > 0.25 || late > 500) return 'poor';
  if (quality.concealed > 0.02 || quality.lossIn > 0.08 || quality.lossOut > 0.08 || late > 300) return 'fair';
  return 'good';
}

function Quality({ quality }: { quality: CallQuality | null }) {
  const open = useSignal(false);
  const sounds = soundsLike(quality);
  return (
    <div class="quality">
      <div class="levels">
        <span>
          {t.call.them} <Meter level={quality?.levelIn ?? 0} label={`${t.call.level}: ${t.call.them}`} />
        </span>
        <span>
          {t.call.me} <Meter level={quality?.muted ? 0 : (quality?.levelOut ?? 0)} label={`${t.call.level}: ${t.call.me}`} />
        </span>
      </div>
      <p class={`sounds ${sounds}`}>
        <i aria-hidden="true" /> {t.call.quality[sounds]}
        {quality && (
          <button type="button" class="link" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
            {t.call.numbers}
          </button>
        )}
      </p>
      {open.value && quality && <Numbers quality={quality} />}
    </div>
  );
}

const percent = new Intl.NumberFormat(locale, { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });

function Numbers({ quality }: { quality: CallQuality }) {
  const ms = (value: number) => `${Math.round(value)} ms`;
  const rows: [string, string][] = [
    [t.call.lossIn, percent.format(quality.lossIn)],
    [t.call.lossOut, percent.format(quality.lossOut)],
    [t.call.concealed, percent.format(quality.concealed)],
    [t.call.delay, ms(quality.playoutDelayMs)],
    [t.call.jitter, ms(quality.jitterMs)],
    [t.call.roundTrip, ms(quality.roundTripMs)],
  ];
  return (
    <dl class="numbers">
      {rows.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function CallTools({ call }: { call: Call }) {
  const store = useStore();
  const devices = useSignal(false);
  const isMuted = useMuted(call);
  return (
    <div class="call-tools">
      <RoundButton icon={isMuted.value ? 'micOff' : 'mic'} label={isMuted.value ? t.call.unmute : t.call.mute} pressed={isMuted.value} keys="Alt+M" onClick={() => void isMuted.toggle()} />
      <RoundButton icon="speaker" label={t.call.devices} short={t.settings.sound} onClick={() => (devices.value = true)} />
      <RoundButton icon="chats" label={t.contacts.message} onClick={() => void openChat(store, call.peer.name)} />
      <RoundButton icon="hangUp" label={t.call.hangUp} look="red" keys="Alt+H" onClick={() => void attempt(() => store.client.hangUp(call.call))} />
      {devices.value && (
        <Dialog title={t.call.devices} onClose={() => (devices.value = false)}>
          <SoundChoice />
        </Dialog>
      )}
    </div>
  );
}

/** Whether one is muted, as it was last set or told. */
export function useMuted(call: Call): { value: boolean; toggle: () => Promise<boolean> } {
  const store = useStore();
  const told = store.quality.value.get(call.call)?.muted;
  const value = store.muted.value ?? told ?? false;
  return {
    value,
    toggle: () => {
      store.muted.value = !value;
      return attempt(() => store.client.setMuted(call.call, !value));
    },
  };
}

interface RoundProps {
  icon: IconName;
  label: string;
  short?: string;
  look?: 'red' | 'green';
  pressed?: boolean;
  keys?: string;
  onClick: () => void;
}

export function RoundButton({ icon, label, short = label, look, pressed, keys, onClick }: RoundProps) {
  return (
    <button type="button" class={`round ${look ?? ''}`} aria-pressed={pressed} aria-label={label} aria-keyshortcuts={keys} onClick={onClick}>
      <span>
        <Icon name={icon} />
      </span>
      <small aria-hidden="true">{short}</small>
    </button>
  );
}

function AfterCall({ call }: { call: Call }) {
  const store = useStore();
  const host = useHost();
  const leave = () => {
    store.dismissCall(call.call);
    back();
  };
  return (
    <div class="after-call">
      <Button look="green" icon="phone" onClick={() => placeCall(host, store, call.peer.name)}>
        {t.call.again}
      </Button>
      <Button icon="chats" onClick={() => openChat(store, call.peer.name)}>
        {t.call.write}
      </Button>
      <Button look="plain" onClick={leave}>
        {t.close}
      </Button>
    </div>
  );
}
