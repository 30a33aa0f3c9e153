/**
 * The bounds of a connection: every queue has one, and every silence.
 *
 * Constants, but for tests, which want them small.
 *
 * @module
 */

export interface Limits {
  /** From the first byte until both know each other. */
  readonly handshakeMs: number;
  /** The largest frame before that, in bytes. */
  readonly helloBytesMax: number;
  /** The largest frame after it, in bytes. */
  readonly frameBytesMax: number;
  /** Quiet for so long: a ping asks whether the peer is there. */
  readonly pingMs: number;
  /** Nothing received for so long: the peer is gone. Also: nothing sent left for so long. */
  readonly silenceMs: number;
  /** Calls under way on one connection; one more is `overloaded`. */
  readonly callsMax: number;
  /** Bytes of their requests; one more is `overloaded`. */
  readonly callBytesMax: number;
  /** Bytes waiting to be sent from which on a server reads no further requests, and streams wait. */
  readonly sendBytesPause: number;
  /** Bytes waiting to be sent at which a server gives the connection up: its client does not read. */
  readonly sendBytesMax: number;
}

const MiB = 1024 * 1024;

export const LIMITS: Limits = {
  handshakeMs: 5000,
  helloBytesMax: 1024,
  frameBytesMax: 24 * MiB,
  pingMs: 5000,
  silenceMs: 15_000,
  callsMax: 32_768,
  callBytesMax: 64 * MiB,
  sendBytesPause: 4 * MiB,
  sendBytesMax: 96 * MiB,
};
