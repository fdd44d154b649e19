import { describe, expect, it } from 'vitest';
import { memoryProfile } from '../vault/profile.ts';
import { Changes } from './changes.ts';

describe('changes', () => {
  it('tell how a thing is once they are durable, not how it was before', async () => {
    const profile = memoryProfile();
    const changes = new Changes(profile.vault);
    let typing = false;
    changes.tellLate(() => ({ kind: 'typing', conversation: 'c', account: 'a', typing }));
    changes.putJson('state', 'k', 1);
    const durable = changes.commit();
    typing = true;
    await durable;
    expect(changes.events).toEqual([{ kind: 'typing', conversation: 'c', account: 'a', typing: true }]);
  });
});
