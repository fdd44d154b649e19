/** The digits that two people compare to be sure of each other's keys. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { reasonOf } from '../act.ts';
import { useStore } from '../host.ts';
import { t } from '../text.ts';
import { Dialog } from '../ui/dialog.tsx';

export function Compare({ account, name, onClose }: { account: string; name: string; onClose: () => void }) {
  const store = useStore();
  const code = useSignal<string | null>(null);
  const wrong = useSignal<string | null>(null);
  useEffect(() => {
    store.client.comparisonCode(account).then(
      (told) => (code.value = told),
      (error: unknown) => (wrong.value = reasonOf(error)),
    );
  }, [account]);
  return (
    <Dialog title={t.compare.title(name)} onClose={onClose}>
      <p class="digits" aria-busy={code.value === null}>
        {code.value?.split(/\s+/).map((group, index) => <span key={index}>{group}</span>) ?? (wrong.value === null ? t.loading : null)}
      </p>
      {wrong.value && (
        <p class="wrong" role="alert">
          {wrong.value}
        </p>
      )}
      <p class="soft">{t.compare.text}</p>
    </Dialog>
  );
}
