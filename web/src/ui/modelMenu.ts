/** The model menu, with the card, legend and summary of the selected model. */

import { byId, setText } from './dom';
import {
  fetchModelCard,
  formatOption,
  formatSummary,
  listModels,
  type ModelCard,
  showLegend,
  showModelCard,
} from './models';

export class ModelMenu {
  private readonly menu = byId('model', HTMLSelectElement);
  private readonly cards = new Map<string, ModelCard>();
  private sizes: Record<string, number> = {};
  private filling: Promise<void> | null = null;

  /**
   * @param onSelect called when the user selects another model.
   * @param onError called with an error for the user.
   */
  constructor(
    onSelect: () => void,
    private readonly onError: (error: unknown) => void,
  ) {
    this.menu.addEventListener('change', () => {
      onSelect();
      void this.report(this.show());
    });
  }

  /** Return the selected model. Fills the menu on the first call, and again after a failure. */
  async load(): Promise<string> {
    this.filling ??= this.fill();
    try {
      await this.filling;
    } catch (error) {
      this.filling = null;
      throw error;
    }
    return this.menu.value;
  }

  private async fill(): Promise<void> {
    const { default: preselected, models, size_bytes = {} } = await listModels();
    this.sizes = size_bytes;
    const options = models.map((name) => new Option(name, name, name === preselected, name === preselected));
    this.menu.replaceChildren(...options);
    void this.report(this.describe(models));
  }

  /** Show the selected model, and the accuracy of every model in the menu. */
  private async describe(models: readonly string[]): Promise<void> {
    await this.show();
    for (const [index, name] of models.entries()) {
      this.menu.options[index].text = formatOption(name, await this.cardOf(name));
    }
  }

  private async show(): Promise<void> {
    const name = this.menu.value;
    const card = await this.cardOf(name);
    // Another model may be selected meanwhile.
    if (this.menu.value !== name) return;
    showModelCard(byId('model-card', HTMLElement), name, card);
    showLegend(byId('legend', HTMLElement), card);
    setText(byId('model-summary', HTMLElement), formatSummary(card, this.sizes[name]));
  }

  private async cardOf(name: string): Promise<ModelCard> {
    const card = this.cards.get(name) ?? (await fetchModelCard(name));
    this.cards.set(name, card);
    return card;
  }

  private async report(task: Promise<void>): Promise<void> {
    try {
      await task;
    } catch (error) {
      this.onError(error);
    }
  }
}
