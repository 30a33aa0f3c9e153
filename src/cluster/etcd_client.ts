/**
 * The little of etcd v3 that a cluster needs, over its JSON gateway: `range`,
 * `txn`, leases and watches. Keys and values are texts here and base64 on the
 * wire; 64-bit numbers are decimal texts there.
 *
 * Etcd 3.4 and later; 3.5 is what we recommend.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8 } from "../../storage/base/bytes.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { EtcdFailure, type EtcdTransport } from "./etcd_transport.ts";

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly modRevision: number;
}

export type Compare =
  /** 0: the key is not there. */
  | { readonly key: string; readonly modRevision: number }
  | { readonly key: string; readonly value: string };

export type Operation =
  | { readonly get: string; readonly end?: string; readonly limit?: number }
  | { readonly put: string; readonly value: string; readonly lease?: string }
  | { readonly remove: string };

export interface TxnResult {
  readonly succeeded: boolean;
  /** Of everything in etcd, after it. */
  readonly revision: number;
  /** What each `get` found, in order; empty for the others. */
  readonly found: readonly (readonly KeyValue[])[];
}

export interface EtcdCredentials {
  readonly user: string;
  readonly password: string;
}

export class EtcdClient {
  readonly #transport: EtcdTransport;
  readonly #credentials: EtcdCredentials | undefined;
  #token: Promise<string> | undefined;

  constructor(transport: EtcdTransport, credentials?: EtcdCredentials) {
    this.#transport = transport;
    this.#credentials = credentials;
  }

  /** All of it at once, if all comparisons hold. */
  async txn(compare: readonly Compare[], then: readonly Operation[]): Promise<TxnResult> {
    const answer = await this.#call<TxnAnswer>("/v3/kv/txn", {
      compare: compare.map(encodeCompare),
      success: then.map(encodeOperation),
    });
    const found = (answer.responses ?? []).map(({ response_range: range }) =>
      (range?.kvs ?? []).map(decodeKeyValue),
    );
    const revision = Number(answer.header?.revision ?? 0);
    return { succeeded: answer.succeeded === true, revision, found };
  }

  /** A linearizable read of what several gets find at one moment. */
  async read(gets: readonly Operation[]): Promise<readonly (readonly KeyValue[])[]> {
    return (await this.txn([], gets)).found;
  }

  /** @returns its id and the seconds it holds without being kept alive. */
  async grant(ttlSeconds: number): Promise<{ readonly lease: string; readonly ttl: number }> {
    const answer = await this.#call<{ ID: string; TTL: string }>("/v3/lease/grant", {
      TTL: String(ttlSeconds),
    });
    return { lease: answer.ID, ttl: Number(answer.TTL) };
  }

  /** @returns the seconds it holds from now on; 0 when it is gone. */
  async keepAlive(lease: string): Promise<number> {
    const answer = await this.#call<{ result?: { TTL?: string } }>("/v3/lease/keepalive", {
      ID: lease,
    });
    return Number(answer.result?.TTL ?? 0);
  }

  async revoke(lease: string): Promise<void> {
    await this.#call("/v3/lease/revoke", { ID: lease });
  }

  /** Tells of the watch's beginning, of each change, and of its end. */
  watch(
    range: { readonly key: string; readonly end: string },
    events: { onHint(): void; onEnd(): void },
  ): () => void {
    const stop = new AbortController();
    const body = { create_request: { key: encode(range.key), range_end: encode(range.end) } };
    void this.#authenticated()
      .then((token) => {
        if (stop.signal.aborted) return;
        const onValue = () => events.onHint();
        const close = this.#transport.stream("/v3/watch", body, {
          token,
          onValue,
          onEnd: () => events.onEnd(),
        });
        stop.signal.addEventListener("abort", close);
      })
      .catch(() => events.onEnd());
    return () => stop.abort();
  }

  async #call<T>(path: string, body: unknown): Promise<T> {
    try {
      return await this.#attempt<T>(path, body);
    } catch (error) {
      const expired = error instanceof EtcdFailure && error.unauthenticated && this.#credentials;
      if (!expired) throw failed(error);
    }
    this.#token = undefined; // etcd forgot it: nothing was made of the request
    try {
      return await this.#attempt<T>(path, body);
    } catch (error) {
      throw failed(error);
    }
  }

  async #attempt<T>(path: string, body: unknown): Promise<T> {
    const token = await this.#authenticated();
    return (await this.#transport.call(path, body, { token })) as T;
  }

  #authenticated(): Promise<string | undefined> {
    const { user: name, password } = this.#credentials ?? {};
    if (name === undefined) return Promise.resolve(undefined);
    this.#token ??= this.#transport
      .call("/v3/auth/authenticate", { name, password })
      .then((answer) => (answer as { token: string }).token)
      .catch((error: unknown) => {
        this.#token = undefined;
        throw error;
      });
    return this.#token;
  }

  close(): void {
    this.#transport.close();
  }
}

/** Everything that begins with `prefix`: the end of that range. */
export function endOfPrefix(prefix: string): string {
  const last = prefix.length - 1;
  return prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1);
}

interface WireKeyValue {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
}

interface TxnAnswer {
  readonly header?: { readonly revision?: string };
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: { readonly kvs?: readonly WireKeyValue[] };
  }[];
}

function decodeKeyValue({ key, value, mod_revision }: WireKeyValue): KeyValue {
  return { key: decode(key), value: decode(value ?? ""), modRevision: Number(mod_revision) };
}

function encodeCompare(compare: Compare): object {
  const key = encode(compare.key);
  if ("value" in compare)
    return { key, target: "VALUE", result: "EQUAL", value: encode(compare.value) };
  const revision = String(compare.modRevision);
  return { key, target: "MOD", result: "EQUAL", mod_revision: revision };
}

function encodeOperation(operation: Operation): object {
  if ("get" in operation) {
    const { get, end, limit } = operation;
    const range = { key: encode(get), ...(end && { range_end: encode(end) }) };
    return { request_range: { ...range, ...(limit && { limit: String(limit) }) } };
  }
  if ("remove" in operation) return { request_delete_range: { key: encode(operation.remove) } };
  const { put, value, lease } = operation;
  return { request_put: { key: encode(put), value: encode(value), ...(lease && { lease }) } };
}

function encode(text: string): string {
  return btoa(String.fromCharCode(...encodeUtf8(text)));
}

function decode(base64: string): string {
  return decodeUtf8(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
}

function failed(error: unknown): TidegateError {
  if (!(error instanceof EtcdFailure)) throw error;
  const detail = `Cannot ask the coordinator: ${error.message}`;
  return new TidegateError("outcome-unknown", detail, { refused: error.refused }, error);
}
