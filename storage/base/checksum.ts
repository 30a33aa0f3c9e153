/**
 * The checksum port: CRC-32 (IEEE), the polynomial of zlib and of RocketMQ's
 * body checksum. `checksum_node.ts` is the native one.
 *
 * @module
 */

/**
 * Returns the CRC-32 of `bytes` as an unsigned 32-bit integer.
 *
 * @param before of the bytes that come before them, when they go on.
 */
export type Crc32 = (bytes: Uint8Array, before?: number) => number;
