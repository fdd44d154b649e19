/** The interface over the made-up town; `?scene=` chooses what happens in it. Not part of the product's bundle. */

import { signal } from '@preact/signals';
import { render } from 'preact';
import type { Call, Event } from '../../sdk/client.ts';
import { Refusal } from '../../sdk/client.ts';
import { App } from '../app.tsx';
import type { Host, Seat, SignUpForm } from '../host.ts';
import { followAddress } from '../route.ts';
import { clock } from '../store/when.ts';
import '../styles/all.css';
import { followTheme } from '../theme.ts';
import { DemoClient, demoQuality } from './client.ts';
import { conversationId, idOf, NOW } from './town.ts';

const asked = new URLSearchParams(location.search);
const scene = asked.get('scene') ?? '';

/** The town's clock stands still, so that pictures stay the same; with `?live` it goes on. */
const started = Date.now();
Date.now = asked.has('live') ? () => NOW + (performance.timeOrigin + performance.now() - started) : () => NOW;
clock.value = () => Date.now();

const client = new DemoClient(scene === 'empty');
const code = 'AHOY-7QXC-2M4K-9TRE-0WVB-5HNP-3ZJD-8GSF';
const seats: Record<string, Seat> = {
  welcome: { kind: 'signed-out', network: { name: 'harbour.example', signUp: 'open' } },
  invite: { kind: 'signed-out', network: { name: 'harbour.example', signUp: 'invite' } },
  closed: { kind: 'signed-out', network: { name: 'harbour.example', signUp: 'closed' } },
  unreachable: { kind: 'unreachable', text: 'harbour.example did not answer within ten seconds.' },
  starting: { kind: 'starting' },
};
const seat = signal<Seat>(seats[scene] ?? { kind: 'signed-in', client });
const enter = () => (seat.value = { kind: 'signed-in', client });
const refuse = (password: string) => {
  if (password === 'wrong-password') throw new Refusal('wrong-password', '');
};

const host: Host = {
  seat,
  moved: signal(0),
  isLead: signal(true),
  sound: {
    microphones: signal([{ id: 'one', label: 'Built-in microphone' }, { id: 'two', label: 'Headset' }]),
    speakers: signal([{ id: 'one', label: 'Built-in speakers' }, { id: 'two', label: 'Headset' }]),
    microphone: signal('two'),
    speaker: signal('two'),
    suppressesNoise: signal(true),
    isAllowed: signal(true),
    allow: async () => undefined,
    chooseMicrophone: async () => undefined,
    chooseSpeaker: async () => undefined,
    suppressNoise: async () => undefined,
  },
  retry: () => (seat.value = { kind: 'signed-out', network: { name: 'harbour.example', signUp: 'open' } }),
  signUp: async (form: SignUpForm) => {
    if (form.name === 'taken') throw new Refusal('network', 'That name is taken.');
    return code;
  },
  signIn: async (form) => {
    refuse(form.password);
    enter();
  },
  recover: async () => code,
  enter,
  prepareCall: async () => undefined,
  startAnew: async () => {
    seat.value = { kind: 'signed-out', network: { name: 'harbour.example', signUp: 'open' } };
  },
};

const call = (change: Partial<Call>): Event => ({
  kind: 'call',
  call: {
    call: 'ca'.repeat(16),
    peer: { account: idOf('bob'), name: 'bob' },
    direction: 'incoming',
    state: 'ringing',
    quiet: false,
    connectedAtMs: null,
    cause: null,
    refusal: null,
    ...change,
  },
});

const connected = call({ state: 'connected', connectedAtMs: NOW - 151_000 });
const scenes: Record<string, Event[]> = {
  incoming: [call({})],
  'incoming-quiet': [call({ quiet: true })],
  outgoing: [call({ direction: 'outgoing', state: 'ringing' })],
  'in-call': [connected, { kind: 'quality', quality: demoQuality('ca'.repeat(16), 1, false) }],
  'call-lost': [call({ state: 'lost', connectedAtMs: NOW - 151_000 })],
  'call-ended': [call({ state: 'ended', direction: 'outgoing', cause: 'no-answer' })],
  typing: [{ kind: 'typing', conversation: conversationId(1), account: idOf('bob'), typing: true }],
  offline: [{ kind: 'offline' }],
  'key-changed': [{ kind: 'account-key-changed', person: { account: idOf('emil'), name: 'emil' } }],
  'new-device': [{ kind: 'new-own-device', device: idOf('piet') }],
  revoked: [{ kind: 'stopped', reason: 'revoked', text: '' }],
  replaced: [{ kind: 'stopped', reason: 'replaced', text: '' }],
  version: [{ kind: 'stopped', reason: 'version', text: '' }],
  storage: [{ kind: 'stopped', reason: 'storage', text: '' }],
  clock: [{ kind: 'stopped', reason: 'clock', text: '' }],
  'state-too-old': [{ kind: 'stopped', reason: 'state-too-old', text: '' }],
};

followTheme();
followAddress();
render(<App host={host} />, document.getElementById('app') ?? document.body);
requestAnimationFrame(() => setTimeout(() => scenes[scene]?.forEach((event) => client.tell(event)), 50));
Object.assign(globalThis, { town: client });
