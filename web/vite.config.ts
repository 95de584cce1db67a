import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defaultClientConditions, type Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const ASSETS = resolve(import.meta.dirname, '../src/mien/assets');
/** What the built page is made of. */
const SOURCES = ['index.html', 'package-lock.json', 'public', 'src', 'vite.config.ts'];
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** `import address from '...wasm?gzip'`: the address of the file, which the build ships compressed, the same bytes every time. */
function compressed(): Plugin {
  return {
    name: 'mien-compressed',
    enforce: 'pre',
    async resolveId(id, importer) {
      if (!id.endsWith('?gzip')) return null;
      const found = await this.resolve(id.slice(0, -5), importer, { skipSelf: true });
      return found && `${found.id}?gzip`;
    },
    load(id) {
      if (!id.endsWith('?gzip')) return null;
      const path = id.slice(0, -5);
      if (this.environment.mode === 'dev') return `export default ${JSON.stringify(`/@fs${path}`)};`;
      const bytes = gzipSync(readFileSync(path), { level: 9 });
      bytes[9] = 255; // the system it was made on is nobody's business
      const name = `${path.slice(path.lastIndexOf('/') + 1)}.gz`;
      const reference = this.emitFile({ type: 'asset', name, source: bytes });
      return `export default import.meta.ROLLUP_FILE_URL_${reference};`;
    },
  };
}

/** The build tells what it was made of, so that a test can see whether somebody forgot to build. */
function stamped(): Plugin {
  return {
    name: 'mien-stamped',
    apply: 'build',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: 'sources.sha256', source: `${sourcesHash()}\n` });
    },
  };
}

/** SHA-256 over the path, a zero, the content and a zero of every source file, in the order of their paths. */
function sourcesHash(): string {
  const root = import.meta.dirname;
  const hash = createHash('sha256');
  for (const path of SOURCES.flatMap((name) => filesOf(resolve(root, name))).sort()) {
    hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
  }
  return hash.digest('hex');
}

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesOf(resolve(path, name)));
}

/** In `vite dev` the shipped models stand at models/, as `mien serve` has them; the build does not copy them. */
function models(): Plugin {
  return {
    name: 'mien-models',
    configureServer(server) {
      server.middlewares.use('/models/', (request, response) => {
        const name = request.url!.slice(1).split('?')[0]!;
        if (name === 'index.json') response.end(index());
        else if (readdirSync(ASSETS).includes(name)) response.end(readFileSync(resolve(ASSETS, name)));
        else response.writeHead(404).end();
      });
    },
  };
}

function index(): string {
  const names = readdirSync(ASSETS).filter((name) => name.endsWith('.json'));
  const expressions = names.filter((name) => JSON.parse(readFileSync(resolve(ASSETS, name), 'utf8')).task === 'expression');
  return JSON.stringify({ default: 'expression', models: expressions.map((name) => name.slice(0, -5)).sort() });
}

export default defineConfig({
  base: './',
  plugins: [compressed(), stamped(), models()],
  worker: { format: 'es', plugins: () => [compressed()] },
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  build: {
    outDir: '../src/mien/server/page',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the page's content security policy lets no data: addresses in
    modulePreload: { polyfill: false },
  },
  server: { headers: HEADERS },
  test: { include: ['tests/**/*.test.ts'] },
});
