/**
 * Names for requests: the client's own `X-Request-Id` when it is safe to print
 * in a log and a header, else one of ours.
 *
 * Ours are a random prefix per process and a counter: unique enough to find a
 * line in a log, for a tenth of what a random id costs.
 *
 * @module
 */

const PRINTABLE = /^[\x21-\x7e]{1,128}$/;

export class RequestIds {
  readonly #prefix: string;
  #count = 0;

  constructor() {
    const chance = crypto.getRandomValues(new Uint32Array(2));
    this.#prefix = `${[...chance].map((word) => word.toString(36)).join("")}-`;
  }

  idOf(given: string | undefined): string {
    if (given !== undefined && PRINTABLE.test(given)) return given;
    return this.#prefix + (this.#count++).toString(36);
  }
}
