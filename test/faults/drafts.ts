/**
 * The messages that the clients of a campaign publish.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import type { Prng } from "../../storage/base/prng.ts";
import type { Publish } from "./history.ts";
import type { Recorder } from "./recorder.ts";

/** No answer for this long from a server that is up is a complaint. */
export const ANSWER_MS_MAX = 15_000;

export interface Draft {
  readonly publish: Publish;
  readonly contentType: string;
  readonly body: string;
}

const CONTENT_TYPES = ["text/plain", "application/octet-stream", "application/json"] as const;

/** One client's messages, each with an id of its own; it owns its ordering keys. */
export class Drafts {
  readonly #name: string;
  readonly #prng: Prng;
  readonly #recorder: Recorder;
  readonly #keyless: boolean;
  readonly #keySeqs = new Map<string, number>();
  count = 0;

  constructor(options: {
    readonly name: string;
    readonly prng: Prng;
    readonly recorder: Recorder;
    /** Without ordering keys. */
    readonly keyless?: boolean;
  }) {
    this.#name = options.name;
    this.#prng = options.prng;
    this.#recorder = options.recorder;
    this.#keyless = options.keyless ?? false;
  }

  next(unit?: string): Draft {
    const [name, prng] = [this.#name, this.#prng];
    const id = `${name}-${this.count++}`;
    const keyed = !this.#keyless && prng.chance(75);
    const key = keyed ? `${name}-key-${prng.below(3)}` : undefined;
    const keySeq = this.#keySeqs.get(key ?? "") ?? 0;
    this.#keySeqs.set(key ?? "", keySeq + 1);
    const filling = prng
      .word()
      .toString(36)
      .repeat(prng.chance(2) ? 2000 : 1 + prng.below(60));
    const body = JSON.stringify({ id, filling });
    const checksum = crc32(body);
    return {
      publish: this.#recorder.attempt({ id, checksum, key, keySeq, unit }),
      contentType: prng.pick(CONTENT_TYPES),
      body,
    };
  }
}

/** As members of a batch. */
export function wireMessages(drafts: readonly Draft[]): object[] {
  return drafts.map(({ publish, contentType, body }) => ({
    id: publish.id,
    ...(publish.key === undefined ? {} : { key: publish.key }),
    ...(contentType === "application/json"
      ? { data: JSON.parse(body) as unknown }
      : contentType === "text/plain"
        ? { text: body }
        : { dataBase64: Buffer.from(body).toString("base64"), contentType }),
  }));
}
