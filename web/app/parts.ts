/** What the tab that leads runs: account, session, encryption. Loaded by it alone. */

export { dialler } from '../sdk/link/dial.ts';
export { aboard } from '../sdk/open.ts';
export { openProfile } from '../sdk/vault/profile.ts';
