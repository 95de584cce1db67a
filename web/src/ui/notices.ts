/** Error messages and the access token form. */

import { hasToken } from '../server/endpoints';
import { TokenError } from '../server/errors';
import { byId, setText } from './dom';

export class Notices {
  private readonly line = byId('notice', HTMLElement);
  private readonly form = byId('token-form', HTMLFormElement);
  private readonly field = byId('token', HTMLInputElement);

  /** @param onToken called with the token that the user enters. */
  constructor(onToken: (token: string) => void) {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const token = this.field.value;
      this.field.value = '';
      this.clear();
      onToken(token);
    });
  }

  show(text: string): void {
    this.line.hidden = false;
    setText(this.line, text);
  }

  /** Show an error; a `TokenError` opens the token form. */
  showError(error: unknown): void {
    this.show(error instanceof Error ? error.message : String(error));
    if (error instanceof TokenError) {
      this.form.hidden = false;
      this.field.setAttribute('aria-invalid', String(hasToken()));
      this.field.focus();
    }
  }

  /** Hide the message and the token form; move the focus away from it. */
  clear(): void {
    const hadFocus = this.form.contains(document.activeElement);
    this.line.hidden = true;
    this.form.hidden = true;
    setText(this.line, '');
    if (hadFocus) byId('use-camera', HTMLElement).focus();
  }
}
