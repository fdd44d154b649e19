/** Buttons: with words, and with an icon alone. */

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Icon, type IconName } from './icon.tsx';

interface ButtonProps {
  look?: 'main' | 'quiet' | 'plain' | 'danger' | 'red' | 'green';
  icon?: IconName;
  wide?: boolean;
  disabled?: boolean;
  busy?: boolean;
  submit?: boolean;
  autoFocus?: boolean;
  onClick?: () => unknown;
  children: ComponentChildren;
}

/** While what it does goes on, a second press does nothing. */
export function Button({ look = 'quiet', icon, wide, disabled, busy, submit, autoFocus, onClick, children }: ButtonProps) {
  const [working, setWorking] = useState(false);
  const press = async () => {
    if (working || busy || onClick === undefined) return;
    const result = onClick();
    if (!(result instanceof Promise)) return;
    setWorking(true);
    await result.finally(() => setWorking(false));
  };
  const isBusy = working || busy === true;
  return (
    <button
      type={submit ? 'submit' : 'button'}
      class={`button ${look}${wide ? ' wide' : ''}`}
      disabled={disabled}
      aria-busy={isBusy}
      autofocus={autoFocus}
      onClick={submit ? undefined : press}
    >
      {isBusy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

interface IconButtonProps {
  icon: IconName;
  label: string;
  main?: boolean;
  pressed?: boolean;
  expanded?: boolean;
  tip?: 'down' | 'up' | 'end' | 'none';
  class?: string;
  disabled?: boolean;
  /** The keys that do the same, as in `aria-keyshortcuts`. */
  keys?: string;
  onClick: (event: MouseEvent) => void;
}

export function IconButton({ icon, label, main, pressed, expanded, tip = 'down', class: more = '', disabled, keys, onClick }: IconButtonProps) {
  return (
    <button
      type="button"
      class={`icon-button${main ? ' main' : ''} ${more}`}
      aria-label={label}
      aria-pressed={pressed}
      aria-expanded={expanded}
      aria-haspopup={expanded === undefined ? undefined : 'true'}
      aria-keyshortcuts={keys}
      disabled={disabled}
      {...(tip === 'none' ? {} : { 'data-tip': label, 'data-tip-at': tip })}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
