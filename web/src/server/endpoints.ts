/** URLs of the server next to the page, and the access token, which is kept in memory only. */

let token = '';

/** Set the bearer token; an empty one clears it. */
export function setToken(text: string): void {
  token = text.trim();
}

export function hasToken(): boolean {
  return token !== '';
}

export function endpoint(path: string): URL {
  return new URL(path, document.baseURI);
}

/** Return the headers of every request. */
export function authorization(): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Return the WebSocket URL and subprotocols for a model, with or without action units. */
export function streamEndpoint(model: string, actionUnits: boolean): { url: URL; protocols: string[] } {
  const url = endpoint('v1/stream');
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('model', model);
  if (actionUnits) url.searchParams.set('action_units', 'true');
  return { url, protocols: token ? ['mien.v1', `bearer.${token}`] : ['mien.v1'] };
}
