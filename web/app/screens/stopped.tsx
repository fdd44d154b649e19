/** The client can't go on: why, and the way out. */

import { useHost } from '../host.ts';
import type { Stop } from '../store/store.ts';
import { t } from '../text.ts';
import { Empty } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';

export function Stopped({ stop }: { stop: Stop }) {
  const host = useHost();
  const said = t.stopped[stop.reason];
  const leave = async () => {
    if (stop.reason === 'revoked' || stop.reason === 'state-too-old') await host.startAnew();
    else location.reload();
  };
  return (
    <main class="stopped" id="main">
      <Empty main title={said.title} text={said.text}>
        {stop.text !== '' && <p class="note">{stop.text}</p>}
        <Button look="main" onClick={leave} autoFocus>
          {said.way}
        </Button>
      </Empty>
    </main>
  );
}
