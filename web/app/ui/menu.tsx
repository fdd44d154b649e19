/** A menu beside the button that opened it. Arrow keys walk, Escape closes, a press outside closes. */

import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import { Icon, type IconName } from './icon.tsx';
import { usePopover, walkButtons } from './popover.ts';

export interface Item {
  label: string;
  icon: IconName;
  danger?: boolean;
  onPick: () => void;
}

interface MenuProps {
  label: string;
  items: readonly Item[];
  /** Where it opens: the button's place on the screen. */
  at: DOMRect;
  onClose: () => void;
  /** More menu items, above the others. */
  children?: ComponentChildren;
}

export function Menu({ label, items, at, onClose, children }: MenuProps) {
  const menu = useRef<HTMLDivElement>(null);
  usePopover(menu, at, 'down', onClose);
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Tab' || event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      onClose();
    } else walkButtons(event, menu.current, 1);
  };
  return (
    <div ref={menu} class="menu" popover="auto" role="menu" aria-label={label} onKeyDown={press}>
      {children}
      {items.map((item) => (
        <button
          key={item.label}
          type="button"
          role="menuitem"
          class={item.danger ? 'danger' : ''}
          onClick={() => {
            onClose();
            item.onPick();
          }}
        >
          <Icon name={item.icon} />
          {item.label}
        </button>
      ))}
    </div>
  );
}
