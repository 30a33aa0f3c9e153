/**
 * HMAC-SHA256 from node:crypto: native on Bun, Deno and Node, and synchronous,
 * which WebCrypto is not.
 *
 * @module
 */

import { createHmac } from "node:crypto";
import type { Hmac } from "./hmac.ts";

export const hmac: Hmac = (key, bytes) =>
  new Uint8Array(createHmac("sha256", key).update(bytes).digest());
