/** Who this device is, as far as a member has to know. */

import type { Identity as KeptIdentity } from '../vault/identity.ts';

export type Identity = Pick<KeptIdentity, 'account' | 'name' | 'accountKey' | 'device' | 'deviceKey' | 'binding' | 'requestSecret'>;
