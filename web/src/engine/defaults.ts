/** Defaults of an analyzer. */

export const DEFAULT_MODEL = 'expression';

/** Return the URL of the folder with the models, by default models/ next to the page. */
export function modelFolder(models: string | URL = 'models'): URL {
  const base = globalThis.document?.baseURI ?? globalThis.location.href;
  return new URL(`${String(models).replace(/\/$/, '')}/`, base);
}
