/** Calls while one is elsewhere: the one that goes on, and the one that wants to be answered. */

import { useEffect } from 'preact/hooks';
import { attempt } from '../act.ts';
import { useHost, useStore } from '../host.ts';
import { href } from '../route.ts';
import { ringFor } from '../ring.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Meter } from '../ui/bits.tsx';
import { Button, IconButton } from '../ui/button.tsx';
import { answerCall } from './call-place.ts';
import { Timer, useMuted } from './call.tsx';
import type { Call } from '../../sdk/client.ts';

export function CallBar() {
  const call = useStore().activeCall.value;
  return call === null ? null : <OneBar call={call} />;
}

function OneBar({ call }: { call: Call }) {
  const store = useStore();
  const muted = useMuted(call);
  const quality = store.quality.value.get(call.call);
  const name = store.nameOf(call.peer.account);
  return (
    <section class={`call-bar ${call.state}`} aria-label={t.call.label(name)}>
      <a href={href({ at: 'call' })} class="call-bar-who" title={t.call.backTo}>
        <Avatar name={call.peer.name} shown={name} size="small" />
        <span class="middle one-line">
          <bdi>{name}</bdi>
        </span>
        {call.state === 'connected' && call.connectedAtMs !== null ? (
          <>
            <Meter level={quality?.levelIn ?? 0} label={`${t.call.level}: ${t.call.them}`} />
            <Timer since={call.connectedAtMs} />
          </>
        ) : (
          <span class="one-line">{call.state === 'lost' ? t.call.lost : call.state === 'ringing' ? t.call.ringing : t.call.calling}</span>
        )}
      </a>
      <IconButton icon={muted.value ? 'micOff' : 'mic'} label={muted.value ? t.call.unmute : t.call.mute} pressed={muted.value} tip="end" keys="Alt+M" onClick={() => void muted.toggle()} />
      <IconButton icon="hangUp" label={t.call.hangUp} tip="end" class="red" keys="Alt+H" onClick={() => void attempt(() => store.client.hangUp(call.call))} />
    </section>
  );
}

/** Comes up wherever one is, and never takes the keyboard over: a word half typed must not answer a call. */
export function IncomingCall() {
  const store = useStore();
  const host = useHost();
  const call = store.incomingCall.value;
  const isOther = store.activeCall.value !== null;
  const rings = call !== null && call.state === 'ringing' && !call.quiet;
  useEffect(() => (rings ? ringFor(isOther ? 'knock' : 'ring') : undefined), [rings, isOther]);
  if (call === null) return null;
  const name = store.nameOf(call.peer.account);
  return (
    <section class="incoming" role="alert" aria-label={t.call.incoming(name)}>
      <Avatar name={call.peer.name} shown={name} />
      <span class="middle">
        <strong class="one-line">
          <bdi>{t.call.incoming(name)}</bdi>
        </strong>
        <span class="note">{isOther ? t.call.another : call.quiet ? t.call.quiet : t.call.encrypted}</span>
      </span>
      <span class="incoming-tools">
        <Button look="red" icon="hangUp" onClick={() => attempt(() => store.client.decline(call.call))}>
          {t.call.decline}
        </Button>
        <Button look="green" icon="phone" onClick={() => answerCall(host, store, call)}>
          {t.call.answer}
        </Button>
      </span>
    </section>
  );
}
