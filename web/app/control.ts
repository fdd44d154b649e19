/** What a page and its worker tell each other beside the client's own messages (`sdk/remote.ts`). */

import type { AudioPorts } from '../voice/ports.ts';

/** From the page. */
export type PageSays =
  /** This page's worker is to run the client from now on; answered by `led`. */
  | { kind: 'take-lead'; number: number }
  /** Microphone and speaker of this page. */
  | AudioPorts
  | { kind: 'audio-end' };

/** From the worker. */
export type WorkerSays =
  | { kind: 'led'; number: number }
  /** The client is another one, or elsewhere: what was read of it is to be read again. */
  | { kind: 'moved'; isLead: boolean };
