import { describe, expect, it } from 'vitest';
import { Refusal } from '../../sdk/client.ts';
import { reasonOf } from '../act.ts';
import { t } from '../text.ts';
import { Sending } from './form.ts';

describe('a form', () => {
  it('that is being sent is not sent a second time', async () => {
    const sending = new Sending();
    let sent = 0;
    let done: () => void = () => undefined;
    const work = () => {
      sent += 1;
      return new Promise<void>((resolve) => (done = resolve));
    };
    const first = sending.send(work, reasonOf);
    await sending.send(work, reasonOf);
    expect([sent, sending.busy.value]).toEqual([1, true]);
    done();
    await first;
    expect(sending.busy.value).toBe(false);
    void sending.send(work, reasonOf);
    expect(sent).toBe(2);
  });

  it('says what was wrong, in its own words where it has some, until it is sent again', async () => {
    const sending = new Sending();
    const refuse = () => Promise.reject(new Refusal('offline', ''));
    await sending.send(refuse, reasonOf);
    expect(sending.wrong.value).toBe(t.refusal.offline);
    await sending.send(refuse, () => 'own words');
    expect(sending.wrong.value).toBe('own words');
    await sending.send(async () => 'too short', reasonOf);
    expect([sending.wrong.value, sending.busy.value]).toEqual(['too short', false]);
    await sending.send(async () => undefined, reasonOf);
    expect(sending.wrong.value).toBeNull();
  });
});
