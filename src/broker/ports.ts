/**
 * What the broker asks of the world to check back on transactions. Types only:
 * who makes the calls is plugged in where the node is put together.
 *
 * @module
 */

export interface CheckCall {
  readonly url: string;
  readonly secret: string | undefined;
  readonly transactionId: string;
  readonly producerGroup: string;
  /** 1 for the first. */
  readonly checkNumber: number;
  readonly messages: readonly { id: string; topic: string; key?: string | undefined }[];
}

export type CheckAnswer =
  | { readonly kind: "decision"; readonly decision: "commit" | "rollback" | "unknown" }
  | { readonly kind: "failed"; readonly reason: string }
  /** The address may not be called: nothing was sent. */
  | { readonly kind: "refused"; readonly reason: string };

export interface CheckCaller {
  /** Resolves in bounded time, however long the other side takes. */
  call(check: CheckCall, options: { signal: AbortSignal }): Promise<CheckAnswer>;
}

export interface ChecksPort {
  readonly caller: CheckCaller;
  /** Why a checkUrl may not be used; undefined when it may. */
  urlFault(url: string): string | undefined;
  /** The same of a secret that calls are signed with. */
  secretFault(secret: string): string | undefined;
}
