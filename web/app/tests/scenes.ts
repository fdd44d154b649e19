/** Every screen of the interface, by the name of its picture. */

/** `c`: the id of a conversation of the town, `p`: the id of somebody. */
export const c = (index: number) => (0xa0 + index).toString(16).repeat(16);
export const p = (index: number) => (index * 17 + 3).toString(16).padStart(2, '0').repeat(16);

export interface Scene {
  name: string;
  scene?: string;
  hash?: string;
  /** Pressed one after the other: the accessible names of buttons. */
  press?: string[];
}

export const scenes: readonly Scene[] = [
  { name: 'welcome', scene: 'welcome' },
  { name: 'welcome-invite', scene: 'invite' },
  { name: 'welcome-closed', scene: 'closed' },
  { name: 'welcome-unreachable', scene: 'unreachable' },
  { name: 'chats', hash: '#/' },
  { name: 'first-day', scene: 'empty', hash: '#/' },
  { name: 'conversation', scene: 'typing', hash: `#/c/${c(1)}` },
  { name: 'group', hash: `#/c/${c(2)}` },
  { name: 'right-to-left', hash: `#/c/${c(5)}` },
  { name: 'long', hash: `#/c/${c(6)}` },
  { name: 'person-about', hash: `#/c/${c(1)}/about` },
  { name: 'group-about', hash: `#/c/${c(2)}/about` },
  { name: 'contacts', hash: '#/contacts' },
  { name: 'person', hash: `#/contacts/${p(4)}` },
  { name: 'add-contact', hash: '#/contacts/add' },
  { name: 'compare', hash: `#/contacts/${p(1)}`, press: ['Compare keys'] },
  { name: 'report', hash: `#/contacts/${p(1)}`, press: ['Report'] },
  { name: 'block', hash: `#/contacts/${p(1)}`, press: ['Block'] },
  { name: 'new-group', hash: '#/new-group' },
  { name: 'incoming-call', scene: 'incoming', hash: `#/c/${c(2)}` },
  { name: 'outgoing-call', scene: 'outgoing', hash: '#/call' },
  { name: 'call', scene: 'in-call', hash: '#/call', press: ['Numbers'] },
  { name: 'call-bar', scene: 'in-call', hash: `#/c/${c(2)}` },
  { name: 'call-lost', scene: 'call-lost', hash: '#/call' },
  { name: 'call-ended', scene: 'call-ended', hash: '#/call' },
  { name: 'settings', hash: '#/settings' },
  { name: 'settings-presence', hash: '#/settings/presence' },
  { name: 'settings-privacy', hash: '#/settings/privacy' },
  { name: 'settings-devices', hash: '#/settings/devices' },
  { name: 'settings-sound', hash: '#/settings/sound' },
  { name: 'settings-look', hash: '#/settings/look' },
  { name: 'settings-account', hash: '#/settings/account' },
  { name: 'shortcuts', hash: '#/settings', press: ['Keyboard shortcuts'] },
  { name: 'offline', scene: 'offline', hash: `#/c/${c(1)}` },
  { name: 'key-changed', scene: 'key-changed', hash: '#/' },
  { name: 'new-device', scene: 'new-device', hash: '#/' },
  { name: 'stopped', scene: 'revoked', hash: '#/' },
];

export const sizes = [
  { name: 'narrow', width: 360, height: 740, hasTouch: true },
  { name: 'wide', width: 1280, height: 800, hasTouch: false },
] as const;

export const themes = ['light', 'dark'] as const;

export function address(scene: Scene): string {
  return `/demo.html?scene=${scene.scene ?? ''}${scene.hash ?? ''}`;
}
