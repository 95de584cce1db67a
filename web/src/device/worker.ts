/** Worker that analyzes images off the main thread. */

import { serveAnalyzer } from '@mien/browser/custom-worker';
import { openWebAssembly, openWebGpu } from './runtime';

serveAnalyzer([openWebGpu, openWebAssembly]);
