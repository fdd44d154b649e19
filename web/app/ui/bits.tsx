/** Small things: toasts, badge, meter, the scene of empty places, the head of a pane. */

import type { ComponentChildren } from 'preact';
import { toasts, unsay } from '../act.ts';
import { back } from '../route.ts';
import { t } from '../text.ts';
import { IconButton } from './button.tsx';

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class="toast">
          <span>{toast.text}</span>
          <IconButton icon="close" label={t.dismiss} tip="none" onClick={() => unsay(toast.id)} />
        </div>
      ))}
    </div>
  );
}

export function Badge({ count, label }: { count: number; label: string }) {
  if (count === 0) return null;
  return (
    <span class="badge">
      <span aria-hidden="true">{count > 99 ? '99+' : count}</span>
      <span class="unseen">{label}</span>
    </span>
  );
}

/** Below this nothing is heard: −48 dB. */
const QUIET_DB = -48;
const BARS = 7;

/** Loudness in bars, on the scale of ears. */
export function barsOf(level: number): number {
  const db = 20 * Math.log10(Math.max(level, 1e-6));
  return Math.max(0, Math.min(BARS, Math.ceil(((db - QUIET_DB) / -QUIET_DB) * BARS)));
}

export function Meter({ level, label }: { level: number; label: string }) {
  const bars = barsOf(level);
  return (
    <span class="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={BARS} aria-valuenow={bars}>
      {Array.from({ length: BARS }, (_, index) => (
        <i key={index} class={index < bars ? 'on' : ''} />
      ))}
    </span>
  );
}

/** `main`: nothing else is on the page. */
export function Empty({ title, text, main, children }: { title: string; text?: string; main?: boolean; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Scene />
      {main ? <h1>{title}</h1> : <h2>{title}</h2>}
      {text && <p>{text}</p>}
      {children}
    </div>
  );
}

/** A small boat on calm water. */
export function Scene() {
  return (
    <svg class="scene" viewBox="0 0 180 110" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <circle cx="138" cy="30" r="13" fill="#f2b33d" stroke="none" opacity=".85" />
      <path d="M86 16v56" />
      <path d="M90 22c16 8 25 24 27 44H90z" fill="currentColor" fill-opacity=".14" />
      <path d="M82 32C72 42 65 53 62 66h20z" fill="currentColor" fill-opacity=".07" />
      <path d="M86 16l-13 4 13 4" fill="#f2b33d" stroke="#f2b33d" />
      <path d="M52 74h72c-4 11-10 16-19 16H71c-9 0-15-5-19-16z" fill="currentColor" fill-opacity=".22" />
      <path d="M12 94c9 0 9-5 18-5s9 5 18 5 9-5 18-5 9 5 18 5 9-5 18-5 9 5 18 5 9-5 18-5 9 5 18 5" />
      <path d="M40 104c8 0 8-4 16-4s8 4 16 4 8-4 16-4 8 4 16 4 8-4 16-4 8 4 16 4" opacity=".5" />
    </svg>
  );
}

/** The head of a pane, with the way back where panes take turns. */
export function PaneHead({ title, backAlways, children, onBack = back }: { title: string; backAlways?: boolean; children?: ComponentChildren; onBack?: () => void }) {
  return (
    <header class="pane-head">
      <IconButton icon="back" label={t.back} tip="none" class={backAlways ? '' : 'only-narrow'} onClick={() => onBack()} />
      <h1 class="one-line">{title}</h1>
      {children}
    </header>
  );
}
