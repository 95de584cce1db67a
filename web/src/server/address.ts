/** Where the server is: beside the page. And the token, kept in memory alone. */

let token = '';

/** Uses a bearer token from now on; an empty one is none. */
export function useToken(text: string): void {
  token = text.trim();
}

/** The address of an endpoint. */
export function endpoint(path: string): URL {
  return new URL(path, document.baseURI);
}

/** The headers that every request carries. */
export function authorization(): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The WebSocket's address for a model, and its subprotocols. */
export function streamAddress(model: string): { url: URL; protocols: string[] } {
  const url = endpoint('v1/stream');
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('model', model);
  return { url, protocols: token ? ['mien.v1', `bearer.${token}`] : ['mien.v1'] };
}
