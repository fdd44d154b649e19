/** The one place that makes trusted addresses of scripts: only files of our own origin pass. */

/** As `trusted-types ahoy` in the page's policy names it. */
const POLICY = 'ahoy';

interface Policy {
  createScriptURL(url: string): unknown;
}

type Factory = { createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): Policy };

const factory = (globalThis as { trustedTypes?: Factory }).trustedTypes;
const policy = factory?.createPolicy(POLICY, { createScriptURL: own });

function own(url: string): string {
  if (new URL(url, location.href).origin !== location.origin) throw new TypeError('a script from elsewhere');
  return url;
}

/** An address that a worker may be started from. */
export function trustedScript(url: string): string {
  // Where the browser knows trusted types this is one of them, which its interfaces take for text.
  return (policy?.createScriptURL(url) ?? own(url)) as string;
}
