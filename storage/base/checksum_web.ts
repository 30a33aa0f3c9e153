/**
 * The same CRC-32 in plain JavaScript, for isolates without node:zlib: ten times
 * slower, which what they send and receive can bear.
 *
 * @module
 */

import type { Crc32 } from "./checksum.ts";

const POLYNOMIAL = 0xedb8_8320; // reflected, as zlib has it

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let word = index;
  for (let bit = 0; bit < 8; bit++) word = word & 1 ? POLYNOMIAL ^ (word >>> 1) : word >>> 1;
  return word;
});

export const crc32: Crc32 = (bytes) => {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
};
