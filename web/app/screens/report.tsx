/** Reporting somebody to the operator: what is revealed is chosen message by message. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Line, MessageRef } from '../../sdk/client.ts';
import { attempt, say } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { lineKey } from '../store/timeline.ts';
import { shortTime } from '../store/when.ts';
import { t } from '../text.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';

/** Their last messages that one may choose from. */
const SHOWN = 20;
const REASON_MAX = 1_000;

export function Report({ account, name, onClose }: { account: string; name: string; onClose: () => void }) {
  const store = useStore();
  const reason = useSignal('');
  const blocks = useSignal(false);
  const lines = useSignal<readonly Line[]>([]);
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const busy = useSignal(false);
  const conversation = store.order.value.find((row) => row.value.pair?.account === account)?.value.conversation ?? null;
  useEffect(() => {
    if (conversation === null) return;
    store.client.history(conversation, null, 200).then(
      (all) => (lines.value = all.filter((line) => line.account === account && line.body.kind === 'text' && !line.deleted).slice(-SHOWN)),
      () => undefined,
    );
  }, [conversation]);
  const toggle = (key: string) => {
    const next = new Set(chosen.value);
    if (!next.delete(key)) next.add(key);
    chosen.value = next;
  };
  const send = async () => {
    busy.value = true;
    const messages: MessageRef[] = lines.value.filter((line) => chosen.value.has(lineKey(line))).map((line) => line.reference);
    const isDone = await attempt(async () => {
      await store.client.report(account, reason.value.trim(), conversation, messages);
      if (blocks.value) await store.client.block(account, true);
    });
    busy.value = false;
    if (!isDone) return;
    say(t.report.sent);
    onClose();
  };
  return (
    <Dialog title={t.report.title(name)} onClose={onClose}>
      <p class="soft">{t.report.text}</p>
      <Field label={t.report.reason} value={reason.value} onInput={(value) => (reason.value = value)} lines maxLength={REASON_MAX} autoFocus />
      <fieldset class="reveal">
        <legend>{t.report.reveal}</legend>
        {lines.value.length === 0 && <p class="note">{t.report.none}</p>}
        {lines.value.map((line) => (
          <label key={lineKey(line)} class="choice">
            <input type="checkbox" checked={chosen.value.has(lineKey(line))} onChange={() => toggle(lineKey(line))} />
            <span>
              <bdi>{line.body.kind === 'text' ? cleanLine(line.body.text) : ''}</bdi>
              <small>{shortTime(line.atMs)}</small>
            </span>
          </label>
        ))}
      </fieldset>
      <label class="choice">
        <input type="checkbox" checked={blocks.value} onChange={(event) => (blocks.value = event.currentTarget.checked)} />
        {t.report.alsoBlock}
      </label>
      <div class="actions">
        <Button onClick={onClose}>{t.cancel}</Button>
        <Button look="red" busy={busy.value} disabled={reason.value.trim() === ''} onClick={send}>
          {t.report.do}
        </Button>
      </div>
    </Dialog>
  );
}
