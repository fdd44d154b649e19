/** Placing and answering calls: first this page takes the session, because it has the microphone. */

import type { Call } from '../../sdk/client.ts';
import { attempt } from '../act.ts';
import type { Host } from '../host.ts';
import { go } from '../route.ts';
import type { Store } from '../store/store.ts';

export async function placeCall(host: Host, store: Store, name: string): Promise<void> {
  if (store.activeCall.peek() !== null) {
    go({ at: 'call' });
    return;
  }
  await attempt(async () => {
    await host.prepareCall();
    await store.client.call(name);
    go({ at: 'call' });
  });
}

export async function answerCall(host: Host, store: Store, call: Call): Promise<void> {
  await attempt(async () => {
    const other = store.activeCall.peek();
    if (other !== null) await store.client.hangUp(other.call);
    await host.prepareCall();
    await store.client.answer(call.call);
    go({ at: 'call' });
  });
}
