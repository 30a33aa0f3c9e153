/**
 * Publishes that may be repeated and are stored once: with an idempotency key,
 * or with a place in a producer's sequence.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { NewMessage, Published } from "./api.ts";
import { publishBatchKeyed, publishKeyed } from "./publish_keyed.ts";
import { publishSequenced } from "./publish_sequenced.ts";
import type { Shell } from "./shell.ts";

export function isRepeatable({ idempotencyKey, producer }: NewMessage): boolean {
  return idempotencyKey !== undefined || producer !== undefined;
}

export async function publishOnce(
  shell: Shell,
  call: {
    readonly name: string;
    readonly message: NewMessage;
    /** Ids of scheduled messages. */
    readonly taken: ReadonlySet<string>;
  },
): Promise<Published> {
  const { name, message, taken } = call;
  if (message.producer === undefined) return publishKeyed(shell, call);
  const [published] = await publishSequenced(shell, { name, messages: [message], taken });
  return published as Published;
}

export async function publishBatchOnce(
  shell: Shell,
  call: {
    readonly name: string;
    readonly messages: readonly NewMessage[];
    readonly atomic: boolean;
    readonly taken: Set<string>;
  },
): Promise<readonly (Published | TidegateError)[]> {
  const sequenced = call.messages.some(({ producer }) => producer !== undefined);
  if (!sequenced) return publishBatchKeyed(shell, call);
  if (call.atomic) return publishSequenced(shell, call);
  const detail = "Cannot publish the batch: with places in a producer's sequence it must be atomic";
  throw new TidegateError("invalid-request", detail);
}
