/**
 * What a connection stands on: a pipe of bytes to one peer, and what it tells.
 *
 *   connection ── write, pause, resume, end, destroy ──▶ carrier
 *   connection ◀── onBytes, onDrained, onClosed ──────── carrier
 *
 * The carrier moves bytes and decides nothing. It calls nothing back from within
 * a call it is given, and nothing after `onClosed`, which comes once.
 *
 * @module
 */

export interface Carrier {
  /**
   * Takes bytes to send, in order; they are never written to any more.
   *
   * @returns whether it wants more; if not, `onDrained` follows.
   */
  write(bytes: Uint8Array): boolean;
  /** Bytes taken that did not leave yet. */
  readonly queuedBytes: number;
  /** No more `onBytes` until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends it once everything written has left. */
  end(): void;
  /** Ends it at once. */
  destroy(): void;
}

export interface CarrierEvents {
  onBytes(chunk: Uint8Array): void;
  onDrained(): void;
  onClosed(reason: string): void;
}

/** Begins to connect; what goes wrong comes as `onClosed`. Bytes may be written at once. */
export type Dial = (events: CarrierEvents) => Carrier;
