/**
 * How a single HTTP request proves who sends it, and its answer who gave it.
 *
 *   Tidegate-Rpc: 1 <node> <time> <nonce> <size> <sha256> <mac>      the request
 *   Tidegate-Rpc: 1 <mac>                                            the answer
 *
 *   node    the sender's name, percent-encoded
 *   time    ms since the Unix epoch, the sender's clock
 *   nonce   16 bytes in hex, used once
 *   size, sha256   of the body, which is one frame
 *   mac     HMAC-SHA256 in hex; of a request over its cluster and the fields
 *           before, of an answer over the request's nonce and the answer's body
 *
 * The fields are judged before a byte of the body is read, so a stranger cannot
 * make anybody hold one. A request counts within a minute of the server's clock,
 * once, and only when it was made since the server started, which has forgotten
 * the nonces of before. The secret itself never travels; what is sent can be read
 * by whoever carries it, unless it is https.
 *
 * Web standards only: isolates sign with the same code.
 *
 * @module
 */

import { concatBytes, encodeUtf8, equalSecrets } from "../../storage/base/bytes.ts";
import { SECRET_BYTES_MIN } from "./handshake.ts";
import { assert } from "../../storage/base/assert.ts";

export const SIGNATURE_HEADER = "tidegate-rpc";

export interface Signed {
  readonly node: string;
  readonly time: number;
  readonly nonce: string;
  readonly size: number;
  readonly digest: string;
}

const FORMAT = /^1 (\S{1,400}) (\d{1,16}) ([0-9a-f]{32}) (\d{1,9}) ([0-9a-f]{64}) ([0-9a-f]{64})$/;
const ANSWER = /^1 ([0-9a-f]{64})$/;

export class HttpSigner {
  readonly #cluster: string;
  readonly #key: Promise<CryptoKey>;

  constructor({ cluster, secret }: { readonly cluster: string; readonly secret: Uint8Array }) {
    assert(secret.length >= SECRET_BYTES_MIN, "a secret is at least 16 bytes");
    this.#cluster = cluster;
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    this.#key = crypto.subtle.importKey("raw", secret.slice(), algorithm, false, ["sign"]);
  }

  /** The header of a request with this body. */
  async request(
    body: Uint8Array,
    who: { readonly node: string; readonly time: number; readonly nonce: Uint8Array },
  ): Promise<{ readonly header: string; readonly nonce: string }> {
    const nonce = hex(who.nonce);
    const node = encodeURIComponent(who.node);
    const fields = `1 ${node} ${who.time} ${nonce} ${body.length} ${await digestOf(body)}`;
    return { header: `${fields} ${await this.#requestMac(fields)}`, nonce };
  }

  /** What a request's header says; undefined when it was not made with the secret. */
  async readRequest(header: string): Promise<Signed | undefined> {
    const match = FORMAT.exec(header);
    if (!match) return undefined;
    const [, node = "", time, nonce = "", size, digest = "", mac = ""] = match;
    const expected = await this.#requestMac(header.slice(0, -mac.length - 1));
    if (!equalSecrets(encodeUtf8(mac), encodeUtf8(expected))) return undefined;
    return { node: decoded(node), time: Number(time), nonce, size: Number(size), digest };
  }

  /** The header of the answer to a request. */
  async answer(body: Uint8Array, nonce: string): Promise<string> {
    return `1 ${await this.#answerMac(body, nonce)}`;
  }

  async isAnswer(header: string, answer: { readonly body: Uint8Array; readonly nonce: string }) {
    const mac = ANSWER.exec(header)?.[1] ?? "";
    const expected = await this.#answerMac(answer.body, answer.nonce);
    return equalSecrets(encodeUtf8(mac), encodeUtf8(expected));
  }

  #requestMac(fields: string): Promise<string> {
    return this.#mac(encodeUtf8(`tidegate rpc http request\n${this.#cluster}\n${fields}`));
  }

  #answerMac(body: Uint8Array, nonce: string): Promise<string> {
    return this.#mac(concatBytes([encodeUtf8(`tidegate rpc http answer\n${nonce}\n`), body]));
  }

  async #mac(bytes: Uint8Array): Promise<string> {
    return hex(new Uint8Array(await crypto.subtle.sign("HMAC", await this.#key, unshared(bytes))));
  }
}

export async function digestOf(body: Uint8Array): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", unshared(body))));
}

/** Nobody here shares memory with a worker. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

function decoded(node: string): string {
  try {
    return decodeURIComponent(node);
  } catch {
    return node; // a name for the log; whoever has the secret may have an odd one
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
