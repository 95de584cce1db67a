import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defaultClientConditions, type Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const ROOT = import.meta.dirname;
const PACKAGE = resolve(ROOT, '../src/mien');
const ASSETS = resolve(PACKAGE, 'assets');
const THEME = resolve(PACKAGE, 'theme.json');
/** Inputs of the build, relative to this folder. */
const SOURCES = ['index.html', 'package-lock.json', 'src', 'vite.config.ts', '../src/mien/theme.json'];
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** Palette of the package: CSS custom properties by color scheme, `<meta name="theme-color">` and the favicon. */
function themePlugin(): Plugin {
  const theme = JSON.parse(readFileSync(THEME, 'utf8'));
  const variables = (palette: Record<string, string>) =>
    Object.entries(palette)
      .map(([name, value]) => `--${name.replaceAll('_', '-')}: ${value};`)
      .join('');
  const css =
    `:root{${variables(theme.light)}}` + `@media (prefers-color-scheme: dark){:root{${variables(theme.dark)}}}`;
  const favicon = () => readFileSync(resolve(ROOT, 'src/favicon.svg'), 'utf8').replace('%ACCENT%', theme.light.accent);
  return {
    name: 'mien-theme',
    enforce: 'pre',
    transform(code, id) {
      return id.endsWith('/src/styles/page.css') ? `${code}\n${css}` : null;
    },
    transformIndexHtml: {
      order: 'pre',
      handler: (html) => html.replace('%LIGHT_PAGE%', theme.light.page).replace('%DARK_PAGE%', theme.dark.page),
    },
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: 'favicon.svg', source: favicon() });
    },
    configureServer(server) {
      server.middlewares.use('/favicon.svg', (_, response) => {
        response.setHeader('Content-Type', 'image/svg+xml');
        response.end(favicon());
      });
    },
  };
}

/**
 * `import file from '...wasm?gzip'`: URL and size of a file that the build compresses reproducibly. It is stored as
 * NAME-HASH.wasm.gz and served as NAME-HASH.wasm.
 */
function gzipPlugin(): Plugin {
  return {
    name: 'mien-gzip',
    enforce: 'pre',
    async resolveId(id, importer) {
      if (!id.endsWith('?gzip')) return null;
      const resolved = await this.resolve(id.slice(0, -5), importer, { skipSelf: true });
      return resolved && `${resolved.id}?gzip`;
    },
    load(id) {
      if (!id.endsWith('?gzip')) return null;
      const path = id.slice(0, -5);
      const bytes = readFileSync(path);
      const toModule = (url: string) => `export default { url: ${url}, size: ${bytes.length} };`;
      if (this.environment.mode === 'dev') return toModule(JSON.stringify(`/@fs${path}`));
      const compressed = gzipSync(bytes, { level: 9 });
      // The gzip header names the operating system; 255 is "unknown".
      compressed[9] = 255;
      const hash = createHash('sha256').update(bytes).digest('base64url').slice(0, 8);
      const fileName = `assets/${basename(path, '.wasm')}-${hash}.wasm.gz`;
      const reference = this.emitFile({ type: 'asset', fileName, source: compressed });
      return toModule(`import.meta.ROLLUP_FILE_URL_${reference}.slice(0, -3)`);
    },
  };
}

/** `sources.sha256`: hash of the build's inputs, from which a test detects an outdated build. */
function sourcesHashPlugin(): Plugin {
  return {
    name: 'mien-sources-hash',
    apply: 'build',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: 'sources.sha256', source: `${sourcesHash()}\n` });
    },
  };
}

/** Return the SHA-256 over path, NUL, content, NUL of every source file in path order. */
function sourcesHash(): string {
  const hash = createHash('sha256');
  const names = SOURCES.flatMap((name) => listFiles(resolve(ROOT, name))).map((path) => relative(ROOT, path));
  for (const name of names.sort()) {
    hash
      .update(name)
      .update('\0')
      .update(readFileSync(resolve(ROOT, name)))
      .update('\0');
  }
  return hash.digest('hex');
}

function listFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => listFiles(resolve(path, name)));
}

/** Serve the shipped models at models/ in development, as `mien serve` does. */
function modelsPlugin(): Plugin {
  return {
    name: 'mien-models',
    configureServer(server) {
      server.middlewares.use('/models/', (request, response) => {
        const name = (request.url ?? '').slice(1).split('?')[0];
        if (name === 'index.json') response.end(modelIndex());
        else if (readdirSync(ASSETS).includes(name)) response.end(readFileSync(resolve(ASSETS, name)));
        else response.writeHead(404).end();
      });
    },
  };
}

function modelIndex(): string {
  const isExpression = (name: string) =>
    name.endsWith('.json') && JSON.parse(readFileSync(resolve(ASSETS, name), 'utf8')).task === 'expression';
  const models = readdirSync(ASSETS).filter(isExpression);
  return JSON.stringify({ default: 'expression', models: models.map((name) => name.slice(0, -5)).sort() });
}

export default defineConfig({
  base: './',
  plugins: [themePlugin(), gzipPlugin(), sourcesHashPlugin(), modelsPlugin()],
  worker: { format: 'es', plugins: () => [gzipPlugin()] },
  resolve: {
    conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions],
    // The page is built from the package's sources.
    alias: [
      { find: /^@mien\/browser$/, replacement: resolve(ROOT, 'src/engine/index.ts') },
      { find: /^@mien\/browser\/custom-worker$/, replacement: resolve(ROOT, 'src/engine/customWorker.ts') },
    ],
  },
  build: {
    outDir: '../src/mien/server/page',
    emptyOutDir: true,
    // See docs/browser.md.
    target: ['chrome111', 'edge111', 'firefox115', 'safari16.4'],
    // The content security policy does not allow data: URLs for scripts and styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { headers: HEADERS },
  test: { include: ['tests/**/*.test.ts'] },
});
