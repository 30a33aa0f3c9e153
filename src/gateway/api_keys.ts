/**
 * API keys: who may speak to this node.
 *
 * A key is compared by its SHA-256 digest, in constant time, against every
 * digest we know, so the time taken tells nothing about how much of a guess was
 * right. Web crypto digests asynchronously, which the hot path cannot afford:
 * a header that was good once is remembered as it came and recognised at once.
 * Only good headers are remembered, and only a bounded number of spellings.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";

const BEARER = /^bearer +([\x21-\x7e]+) *$/i;
const REMEMBERED_MAX = 1024;

const utf8 = new TextEncoder();

export class ApiKeys {
  readonly #digests: Promise<readonly Uint8Array[]>;
  readonly #remembered = new Map<string, string>();

  /** At least one key, none of them empty. */
  constructor(keys: readonly string[]) {
    this.#digests = Promise.all(keys.map(digest));
  }

  /**
   * Whose `Authorization` header this is: a name for quotas, never the key.
   * At once when it was seen before.
   *
   * @throws `unauthorized`
   */
  credentialOf(header: string | undefined): string | Promise<string> {
    if (header === undefined) throw refused("no Authorization header came with the request");
    return this.#remembered.get(header) ?? this.#verify(header);
  }

  async #verify(header: string): Promise<string> {
    const key = BEARER.exec(header)?.[1];
    if (key === undefined) throw refused("the Authorization header is not a bearer key");
    const given = await digest(key);
    const known = await this.#digests;
    let found = -1;
    for (const [i, one] of known.entries()) if (equal(one, given)) found = i;
    if (found < 0) throw refused("the key is not one of this node's");
    const credential = `key-${found}`;
    if (this.#remembered.size < REMEMBERED_MAX) this.#remembered.set(header, credential);
    return credential;
  }
}

async function digest(key: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(key)));
}

/** Looks at every byte, whatever the first ones say. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

function refused(why: string): TidegateError {
  return new TidegateError("unauthorized", `Cannot let the request in: ${why}`);
}
