/** How strong a password is, said in a sentence and shown in four steps. */

import { t } from '../text.ts';
import { strengthOf } from './names.ts';

const steps = { short: 1, weak: 2, fair: 3, strong: 4 };

export function StrengthLine({ password, name }: { password: string; name: string }) {
  if (password === '') return null;
  const strength = strengthOf(password, name);
  return (
    <p class={`strength ${strength}`} aria-live="polite">
      <span aria-hidden="true">
        {[1, 2, 3, 4].map((step) => (
          <i key={step} class={step <= steps[strength] ? 'on' : ''} />
        ))}
      </span>
      {t.welcome.strength[strength]}
    </p>
  );
}
