/** Lines that say what went wrong and what to do, and the field for a token. */

import { TokenError } from '../server/refusals';
import { element, write } from './elements';

export class Notices {
  private readonly line = element('notice', HTMLElement);
  private readonly form = element('token-form', HTMLFormElement);
  private readonly field = element('token', HTMLInputElement);

  /** @param use told a token that somebody entered. */
  constructor(use: (token: string) => void) {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const token = this.field.value;
      this.field.value = '';
      this.clear();
      use(token);
    });
  }

  tell(text: string): void {
    this.line.hidden = false;
    write(this.line, text);
  }

  problem(error: unknown): void {
    this.tell(error instanceof Error ? error.message : String(error));
    if (error instanceof TokenError) {
      this.form.hidden = false;
      this.field.focus();
    }
  }

  clear(): void {
    this.line.hidden = true;
    this.form.hidden = true;
    write(this.line, '');
  }
}
