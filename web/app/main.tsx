/** The page: shows the interface over this browser's host. */

import { render } from 'preact';
import { App } from './app.tsx';
import { openHost } from './aboard.ts';
import { followAddress } from './route.ts';
import './styles/all.css';
import { followTheme } from './theme.ts';
import { trustedScript } from './trusted.ts';

followTheme();
followAddress();
render(<App host={openHost()} />, document.getElementById('app') ?? document.body);

// Opens the page without a network, and makes it installable; where the browser has none, or it is not allowed, nothing is lost.
if (import.meta.env.PROD) void navigator.serviceWorker?.register(trustedScript('/sw.js')).catch(() => undefined);
