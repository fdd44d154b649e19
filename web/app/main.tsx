/** The page: shows the interface over this browser's host. */

import { render } from 'preact';
import { App } from './app.tsx';
import { openHost } from './aboard.ts';
import { followAddress } from './route.ts';
import './styles/all.css';
import { followTheme } from './theme.ts';

followTheme();
followAddress();
render(<App host={openHost()} />, document.getElementById('app') ?? document.body);
