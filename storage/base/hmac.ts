/**
 * The HMAC port: a keyed digest that only who has the key can make.
 * `hmac_node.ts` is the native one.
 *
 * @module
 */

/** Returns the 32 bytes of the HMAC-SHA256 (RFC 2104) of `bytes`. */
export type Hmac = (key: Uint8Array, bytes: Uint8Array) => Uint8Array;
