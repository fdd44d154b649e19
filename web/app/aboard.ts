/** The host of a real page: its worker, which has the client, and its microphone and speaker. */

import { signal } from '@preact/signals';
import type { Client } from '../sdk/client.ts';
import { connect } from '../sdk/remote.ts';
import { reasonOf, say } from './act.ts';
import { PageSound } from './page-sound.ts';
import type { PageSays, WorkerSays } from './control.ts';
import type { Host, Seat } from './host.ts';
import { trustedScript } from './trusted.ts';
import workerUrl from './worker.ts?worker&url';

export function openHost(): Host {
  const worker = new Worker(trustedScript(workerUrl), { type: 'module', name: 'ahoy' });
  const remote = connect(worker);
  const seat = signal<Seat>({ kind: 'starting' });
  const moved = signal(0);
  const isLead = signal(false);
  const taking = new Map<number, () => void>();
  const tell = (said: PageSays, transfer: Transferable[] = []) => worker.postMessage(said, transfer);
  const sound = new PageSound(
    (ports) => tell(ports, [ports.capture, ports.playback]),
    () => tell({ kind: 'audio-end' }),
  );
  let looks = 0;
  let taken = 0;

  const look = async () => {
    looks += 1;
    const mine = looks;
    const found = await remote.entrance.look().catch((error: unknown): Seat => ({ kind: 'unreachable', text: error instanceof Error ? error.message : '' }));
    // Whoever serves has changed meanwhile: the newer look decides.
    if (mine !== looks) return;
    if (found.kind !== 'signed-in') seat.value = found;
    else if (seat.peek().kind === 'signed-in') moved.value += 1;
    else {
      seat.value = { kind: 'signed-in', client: fresh(remote.client) };
      // Browsers short of space may else throw away what was said.
      void navigator.storage?.persist?.();
    }
  };

  worker.addEventListener('message', ({ data }: MessageEvent<WorkerSays>) => {
    if (data.kind === 'led') {
      taking.get(data.number)?.();
      taking.delete(data.number);
    } else if (data.kind === 'moved') {
      isLead.value = data.isLead;
      if (!data.isLead) sound.end();
      void look().then(() => (data.isLead ? takeUpCalls() : undefined));
    }
  });
  /** A call goes on in the tab that leads next: it has to sound there. */
  const takeUpCalls = async () => {
    if (seat.peek().kind !== 'signed-in') return;
    const calls = await remote.client.calls().catch(() => []);
    for (const call of calls) sound.follow(call);
    if (calls.some((call) => call.state === 'connected' || call.state === 'lost')) await sound.begin().catch((error: unknown) => say(reasonOf(error)));
  };
  remote.client.subscribe((event) => {
    if (event.kind === 'call') sound.follow(event.call);
  });

  return {
    seat,
    moved,
    isLead,
    sound,
    retry: () => {
      seat.value = { kind: 'starting' };
      void look();
    },
    signUp: (form) => remote.entrance.signUp(form),
    signIn: async (form) => {
      await remote.entrance.signIn(form);
      await look();
    },
    recover: (form) => remote.entrance.recover(form),
    enter: () => void look(),
    prepareCall: async () => {
      await sound.begin();
      taken += 1;
      const number = taken;
      await new Promise<void>((resolve) => {
        taking.set(number, resolve);
        tell({ kind: 'take-lead', number });
      });
    },
    startAnew: async () => {
      await remote.entrance.startAnew();
      seat.value = { kind: 'starting' };
      await look();
    },
  };
}

/** Another object, so that whoever signs in next is told apart from who was here before. */
function fresh(client: Client): Client {
  return { ...client };
}
