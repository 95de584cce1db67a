/** The worker of `worker.ts`. */

import { openWebAssembly } from './webRuntime.ts';
import { serveAnalyzer } from './workerServer.ts';

serveAnalyzer([openWebAssembly]);
