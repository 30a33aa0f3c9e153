/**
 * The digest port: SHA-256, where two inputs must not be taken for one even when
 * somebody looks for such a pair. `digest_node.ts` is the native one.
 *
 * @module
 */

/** Returns the 32 bytes of the SHA-256 of `parts`, one after the other. */
export type Digest = (parts: readonly Uint8Array[]) => Uint8Array;
