/**
 * SHA-256 from node:crypto: native on Bun, Deno and Node, and synchronous, which
 * WebCrypto is not.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Digest } from "./digest.ts";

export const digest: Digest = (parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};
