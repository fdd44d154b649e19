/** The state of the connection, said where it matters: nothing while all is well. */

import { useEffect, useState } from 'preact/hooks';
import { useStore } from '../host.ts';
import { t } from '../text.ts';

/** Short interruptions mend themselves before anybody would have noticed. */
const PATIENCE_MS = 1_500;
const RESTORED_MS = 2_500;

export function Banner() {
  const store = useStore();
  const link = store.link.value;
  const [shown, setShown] = useState<'none' | 'connecting' | 'offline' | 'restored'>('none');
  useEffect(() => {
    if (link !== 'online') {
      const timer = setTimeout(() => setShown(link), link === 'offline' ? PATIENCE_MS : 2 * PATIENCE_MS);
      return () => clearTimeout(timer);
    }
    setShown((before) => (before === 'offline' ? 'restored' : 'none'));
    const timer = setTimeout(() => setShown('none'), RESTORED_MS);
    return () => clearTimeout(timer);
  }, [link]);
  const isDark = typeof navigator !== 'undefined' && !navigator.onLine;
  const text = { none: '', connecting: t.link.connecting, offline: isDark ? t.link.offline : t.link.reconnecting, restored: t.link.restored }[shown];
  return (
    <p class={`banner ${shown}`} role="status">
      {text !== '' && (
        <>
          {shown !== 'restored' && <span class="spinner" aria-hidden="true" />}
          {text}
        </>
      )}
    </p>
  );
}
