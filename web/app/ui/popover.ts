/** What opens beside a button: placed where there is room, closed by a press outside, and giving the focus back. */

import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect } from 'preact/hooks';

const MARGIN = 8;

/** `up`: above the button where there is room; else below. */
export function usePopover(popover: RefObject<HTMLDivElement | null>, at: DOMRect, prefer: 'up' | 'down', onClose: () => void): void {
  useLayoutEffect(() => {
    const shown = popover.current;
    if (shown === null) return;
    const before = document.activeElement;
    shown.showPopover();
    place(shown, at, prefer);
    shown.querySelector('button')?.focus();
    return () => {
      const hadFocus = shown.contains(document.activeElement) || document.activeElement === document.body;
      if (hadFocus && before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  useEffect(() => {
    const shown = popover.current;
    const toggled = (event: ToggleEvent) => {
      if (event.newState === 'closed') onClose();
    };
    shown?.addEventListener('toggle', toggled);
    return () => shown?.removeEventListener('toggle', toggled);
  });
}

function place(shown: HTMLElement, at: DOMRect, prefer: 'up' | 'down'): void {
  const { width, height } = shown.getBoundingClientRect();
  const above = at.top - height - 6;
  const below = at.bottom + 6;
  const fitsAbove = above >= MARGIN;
  const fitsBelow = below + height <= innerHeight - MARGIN;
  const isAbove = prefer === 'up' ? fitsAbove || !fitsBelow : fitsAbove && !fitsBelow;
  const left = at.left + width <= innerWidth - MARGIN ? at.left : at.right - width;
  shown.style.top = `${Math.max(MARGIN, Math.min(isAbove ? above : below, innerHeight - height - MARGIN))}px`;
  shown.style.left = `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`;
}

/** Arrow keys among the buttons of a popover, so many in a row. */
export function walkButtons(event: KeyboardEvent, popover: HTMLElement | null, columns: number): void {
  const buttons = [...(popover?.querySelectorAll('button') ?? [])];
  const focused = buttons.findIndex((button) => button === document.activeElement);
  const to = {
    ArrowDown: focused + columns,
    ArrowUp: focused - columns,
    ...(columns > 1 ? { ArrowRight: focused + 1, ArrowLeft: focused - 1 } : {}),
    Home: 0,
    End: buttons.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  buttons[(to + buttons.length) % buttons.length]?.focus();
}
