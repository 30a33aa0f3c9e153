/**
 * The port to whoever decides a transaction by webhook: what is asked, and what
 * may come of it.
 *
 * @module
 */

export interface CheckCall {
  /** As the producer gave it; judged again at each call. */
  readonly url: string;
  /** For the signature; without one, the request is not signed. */
  readonly secret: string | undefined;
  readonly transactionId: string;
  readonly producerGroup: string;
  /** From 1. */
  readonly checkNumber: number;
  readonly messages: readonly CheckedMessage[];
}

export interface CheckedMessage {
  readonly id: string;
  readonly topic: string;
  readonly key?: string | undefined;
}

export const DECISIONS = ["commit", "rollback", "unknown"] as const;
export type Decision = (typeof DECISIONS)[number];

/** Reasons are short, for people, and repeat nothing that the other side sent. */
export type CheckAnswer =
  | { readonly kind: "decision"; readonly decision: Decision }
  /** It was asked, or nearly, and gave no decision; may do so next time. */
  | { readonly kind: "failed"; readonly reason: string }
  /** It must not be asked; not a byte was sent. */
  | { readonly kind: "refused"; readonly reason: string };

export interface CheckCaller {
  /**
   * Asks once.
   *
   * Never rejects, and answers within the caller's time limit. Aborting gives
   * the call up (`failed`); the other side may have been asked.
   */
  call(check: CheckCall, options: { readonly signal: AbortSignal }): Promise<CheckAnswer>;
}
