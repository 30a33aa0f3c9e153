/**
 * CRC-32 from zlib: native on Bun, Deno and Node, 0.2 µs for 256 bytes.
 *
 * @module
 */

import { crc32 as zlibCrc32 } from "node:zlib";
import type { Crc32 } from "./checksum.ts";

export const crc32: Crc32 = (bytes, before) => zlibCrc32(bytes, before);
