/** The recovery code, shown once: nobody goes on without having said that it is written down. */

import { useSignal } from '@preact/signals';
import { say } from '../act.ts';
import { t } from '../text.ts';
import { Button } from '../ui/button.tsx';

export function RecoveryCode({ code, onDone }: { code: string; onDone: () => void }) {
  const written = useSignal(false);
  const copy = () => void navigator.clipboard.writeText(code).then(() => say(t.copied));
  return (
    <main class="code-page" id="main">
      <div class="code-card">
        <h1>{t.code.title}</h1>
        <p class="soft">{t.code.text}</p>
        <p class="code" aria-label={t.code.label}>
          {code.split(/[\s-]+/).map((group, index) => <span key={index}>{group}</span>)}
        </p>
        <div class="actions">
          <Button icon="copy" onClick={copy}>
            {t.copy}
          </Button>
        </div>
        <label class="choice">
          <input type="checkbox" checked={written.value} onChange={(event) => (written.value = event.currentTarget.checked)} />
          {t.code.written}
        </label>
        <Button look="main" wide disabled={!written.value} onClick={onDone}>
          {t.code.go}
        </Button>
      </div>
    </main>
  );
}
