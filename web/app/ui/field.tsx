/** Fields with their labels, hints and what is wrong with them; choices and switches. */

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { t } from '../text.ts';
import { IconButton } from './button.tsx';
import { Icon } from './icon.tsx';

interface FieldProps {
  label: string;
  value: string;
  onInput: (value: string) => void;
  hint?: string | undefined;
  wrong?: string | null;
  type?: 'text' | 'password';
  autocomplete?: string;
  maxLength?: number;
  lines?: boolean;
  autoFocus?: boolean;
  placeholder?: string;
  children?: ComponentChildren;
}

export function Field({ label, value, onInput, hint, wrong = null, type = 'text', autocomplete = 'off', maxLength, lines, autoFocus, placeholder, children }: FieldProps) {
  const id = useId();
  const [shown, setShown] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (autoFocus) box.current?.querySelector<HTMLElement>('.input')?.focus();
  }, []);
  const described = [hint && `${id}-hint`, wrong && `${id}-wrong`].filter(Boolean).join(' ') || undefined;
  const shared = {
    id,
    class: 'input',
    value,
    autocomplete,
    placeholder,
    maxLength,
    autocapitalize: 'off' as const,
    spellcheck: lines ?? false,
    'aria-describedby': described,
    'aria-invalid': wrong !== null,
  };
  return (
    <div class="field" ref={box}>
      <label for={id}>{label}</label>
      {lines ? (
        <textarea {...shared} dir="auto" onInput={(event) => onInput(event.currentTarget.value)} />
      ) : (
        <div class={type === 'password' ? 'with-button' : ''}>
          <input {...shared} {...(type === 'text' || shown ? { type: 'text' as const, dir: 'auto' as const } : { type: 'password' as const })} onInput={(event) => onInput(event.currentTarget.value)} />
          {type === 'password' && (
            <IconButton icon={shown ? 'eyeOff' : 'eye'} label={shown ? t.welcome.hide : t.welcome.show} tip="none" onClick={() => setShown(!shown)} />
          )}
        </div>
      )}
      {children}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {wrong && (
        <p class="wrong" id={`${id}-wrong`} role="alert">
          {wrong}
        </p>
      )}
    </div>
  );
}

export function Search({ label, value, onInput, onEnter, id }: { label: string; value: string; onInput: (value: string) => void; onEnter?: () => void; id?: string }) {
  return (
    <label class="search">
      <span class="unseen">{label}</span>
      <Icon name="search" />
      <input
        id={id}
        class="input"
        type="search"
        value={value}
        placeholder={label}
        autocomplete="off"
        spellcheck={false}
        aria-keyshortcuts="Control+K"
        onInput={(event) => onInput(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && value !== '') onEnter?.();
          if (event.key === 'Escape' && value !== '') {
            event.stopPropagation();
            onInput('');
          }
        }}
      />
    </label>
  );
}

interface SwitchProps {
  label: string;
  hint?: string;
  on: boolean;
  disabled?: boolean;
  onChange: (on: boolean) => void;
}

export function Switch({ label, hint, on, disabled, onChange }: SwitchProps) {
  return (
    <label class="switch">
      <span>
        {label}
        {hint && <small>{hint}</small>}
      </span>
      <input type="checkbox" role="switch" checked={on} disabled={disabled} onChange={(event) => onChange(event.currentTarget.checked)} />
    </label>
  );
}

interface ChoicesProps<V extends string> {
  legend: string;
  value: V;
  options: readonly { value: V; label: string; hint?: string | undefined; mark?: ComponentChildren }[];
  onChoose: (value: V) => void;
}

export function Choices<V extends string>({ legend, value, options, onChoose }: ChoicesProps<V>) {
  const name = useId();
  return (
    <fieldset>
      <legend class="unseen">{legend}</legend>
      {options.map((option) => (
        <label key={option.value} class="choice">
          <input type="radio" name={name} checked={option.value === value} onChange={() => onChoose(option.value)} />
          {option.mark && <span aria-hidden="true">{option.mark}</span>}
          <span>
            {option.label}
            {option.hint && <small>{option.hint}</small>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

interface TabsProps<V extends string> {
  label: string;
  value: V;
  options: readonly { value: V; label: string }[];
  onChoose: (value: V) => void;
  /** It sets something, rather than showing another page. */
  sets?: boolean;
}

/** Two or three that stand side by side, of which one is chosen. */
export function Tabs<V extends string>({ label, value, options, onChoose, sets = false }: TabsProps<V>) {
  return (
    <div class="tabs" role={sets ? 'radiogroup' : 'tablist'} aria-label={label}>
      {options.map((option, index) => (
        <button
          key={option.value}
          type="button"
          role={sets ? 'radio' : 'tab'}
          {...(sets ? { 'aria-checked': option.value === value } : { 'aria-selected': option.value === value })}
          tabIndex={option.value === value ? 0 : -1}
          onClick={() => onChoose(option.value)}
          onKeyDown={(event) => {
            const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
            const to = step === undefined ? undefined : (index + step + options.length) % options.length;
            const option = to === undefined ? undefined : options[to];
            if (to === undefined || option === undefined) return;
            event.preventDefault();
            onChoose(option.value);
            (event.currentTarget.parentElement?.children[to] as HTMLElement | undefined)?.focus();
          }}
        >
          {option.label}
        </button>
      ))}
    </div>
  );
}
