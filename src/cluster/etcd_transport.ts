/**
 * How requests get to etcd, as a port: one JSON body there, one or many back.
 *
 * @module
 */

export interface EtcdTransport {
  /**
   * @returns the JSON of the answer.
   * @throws {EtcdFailure} in bounded time.
   */
  call(path: string, body: unknown, options?: EtcdCallOptions): Promise<unknown>;
  /** Each JSON value that comes, until the stream ends, once, for whatever reason. */
  stream(path: string, body: unknown, events: EtcdStreamEvents): () => void;
  close(): void;
}

export interface EtcdCallOptions {
  readonly token?: string | undefined;
}

export interface EtcdStreamEvents extends EtcdCallOptions {
  onValue(value: unknown): void;
  onEnd(): void;
}

/** A request without a good answer. */
export class EtcdFailure extends Error {
  override readonly name = "EtcdFailure";
  /** Etcd said no, and nothing came of it. */
  readonly refused: boolean;
  /** The token is not, or no longer, one of etcd's. */
  readonly unauthenticated: boolean;

  constructor(
    message: string,
    what: { readonly refused: boolean; readonly unauthenticated?: boolean },
  ) {
    super(message);
    this.refused = what.refused;
    this.unauthenticated = what.unauthenticated ?? false;
  }
}
