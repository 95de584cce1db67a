/** Parts of the page's code that are loaded on first use. */

/** Wait for an imported part. Rejects with a message for the user. */
export async function loadPart<T>(part: Promise<T>): Promise<T> {
  try {
    return await part;
  } catch (cause) {
    throw new Error('A part of this page could not be loaded. Reload the page.', { cause });
  }
}
