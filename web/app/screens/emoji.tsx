/** A small emoji picker of our own: the ones that people use most, by arrow keys or finger. */

import { useRef } from 'preact/hooks';
import { t } from '../text.ts';
import { usePopover, walkButtons } from '../ui/popover.ts';

const EMOJI = [
  '👍', '❤️', '😂', '🎉', '😮', '😢', '🙏', '👏',
  '😀', '😊', '😉', '😍', '😘', '🤔', '😎', '🥳',
  '😅', '🙂', '😴', '😬', '🤯', '😡', '🤗', '🙈',
  '👋', '👌', '✌️', '🤞', '💪', '🫶', '👀', '🔥',
  '⚓', '⛵', '🌊', '🐟', '🦀', '🌞', '🌙', '⭐',
  '☕', '🍻', '🍰', '🎂', '🎵', '📷', '✅', '❌',
] as const;

/** Those that stand beside a message without opening anything. */
export const QUICK = EMOJI.slice(0, 6);

const COLUMNS = 8;

interface PickerProps {
  at: DOMRect;
  onPick: (emoji: string) => void;
  onClose: () => void;
}

export function EmojiPicker({ at, onPick, onClose }: PickerProps) {
  const picker = useRef<HTMLDivElement>(null);
  usePopover(picker, at, 'up', onClose);
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Escape' || event.key === 'Tab') {
      event.stopPropagation();
      event.preventDefault();
      onClose();
    } else walkButtons(event, picker.current, COLUMNS);
  };
  return (
    <div ref={picker} class="menu emoji" popover="auto" role="dialog" aria-label={t.chat.reactTitle} onKeyDown={press}>
      {EMOJI.map((emoji, index) => (
        <button
          key={emoji}
          type="button"
          aria-label={emoji}
          tabIndex={index === 0 ? 0 : -1}
          onClick={() => {
            onPick(emoji);
            onClose();
          }}
        >
          {emoji}
        </button>
      ))}
    </div>
  );
}
