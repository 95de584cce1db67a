/** Finding and making elements of the page. */

/** The element with an id. Without it the page is broken, and says which one is missing. */
export function element<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} with the id ${id}.`);
  return found;
}

/** A new element with a class (may be empty) and what goes in it. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  name = '',
  ...content: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...content);
  return made;
}

/** Writes text only where it has changed: a browser lays out and tells less. */
export function write(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
