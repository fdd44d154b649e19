/** Dialogs: the browser's own, so that focus stays inside and Escape closes. On a phone they come from below. */

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../text.ts';
import { Button, IconButton } from './button.tsx';

interface DialogProps {
  title: string;
  onClose: () => void;
  /** It is only read: then the keyboard has to be able to scroll it. */
  reads?: boolean;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, reads, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <header>
        <h2 id={id}>{title}</h2>
        <IconButton icon="close" label={t.close} tip="none" onClick={onClose} />
      </header>
      <div class="inside" tabIndex={reads ? 0 : undefined}>
        {children}
      </div>
    </dialog>
  );
}

interface AskProps {
  title: string;
  text: string;
  yes: string;
  /** What can't be taken back is red. */
  red?: boolean;
  onYes: () => unknown;
  onClose: () => void;
}

/** A question before something that matters. */
export function Ask({ title, text, yes, red = true, onYes, onClose }: AskProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <p class="soft">{text}</p>
      <div class="actions">
        <Button onClick={onClose} autoFocus>
          {t.cancel}
        </Button>
        <Button look={red ? 'red' : 'main'} onClick={onYes}>
          {yes}
        </Button>
      </div>
    </Dialog>
  );
}
