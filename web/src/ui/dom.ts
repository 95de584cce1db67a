/** DOM helpers. */

/** Return the element with an id; throws when it is missing or of another type. */
export function byId<T extends Element>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} with the id ${id}.`);
  return element;
}

/** Create an element with a class (may be empty) and content. */
export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  ...content: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** Set the text of an element if it differs, to avoid needless layout and screen reader output. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
