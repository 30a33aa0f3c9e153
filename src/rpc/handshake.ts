/**
 * Who is there? Before anything else is said, on every connection.
 *
 *   client                                                server
 *     │── hello {versions, cluster, node, nonce} ──────────▶│
 *     │◀── challenge {version, wantsProof, node, nonce} ────│  or refusal {reason}
 *     │── proof {mac of the client} ───────────────────────▶│
 *     │◀── welcome {mac of the server} ─────────────────────│  or refusal {reason}
 *
 *   mac = HMAC-SHA256(secret, role · size u32, hello · size u32, challenge)
 *
 * The mac covers both payloads as they travelled, so nobody in between can talk
 * the two into an older version; the role keeps one side's mac from being played
 * back as the other's, the nonces keep it from being played back at all. The
 * secret itself never travels, and the server's mac is made only for a client that
 * has proven itself. A secret is at least 16 bytes, for whoever listens or dials
 * in could try guesses at leisure.
 *
 * Without a secret the transport must have proven both (mutual TLS); with both,
 * both must hold. The secret proves who is at the ends and protects nothing of
 * what follows: on a network that others can write to, use TLS.
 *
 * The version is the greatest that both speak. Pure: bytes in, bytes out.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalSecrets,
  viewOf,
} from "../../storage/base/bytes.ts";
import type { Hmac } from "../../storage/base/hmac.ts";
import { ByteReader } from "./byte_reader.ts";
import { ByteWriter } from "./byte_writer.ts";
import { FRAME, type Frame, type FrameKind } from "./frame.ts";
import { ProtocolError } from "./protocol_error.ts";

/** The first version. */
export const VERSION = 1;
export const SECRET_BYTES_MIN = 16;

const MAGIC = 0x54475250; // "TGRP"
const NONCE_SIZE = 32;
const MAC_SIZE = 32;

export type Refusal = "version" | "cluster" | "unauthorized" | "node" | "malformed" | "busy";

export interface Credentials {
  /** Shared by all nodes of the cluster. */
  readonly secret?: Uint8Array | undefined;
}

export interface Identity {
  /** Both sides must belong to the same one. */
  readonly cluster: string;
  /** The own name; at most 128 bytes. */
  readonly node: string;
  readonly versions?: { readonly min: number; readonly max: number } | undefined;
}

export interface HandshakePorts {
  readonly hmac: Hmac;
  entropy(size: number): Uint8Array;
}

export type HandshakeStep =
  | { readonly kind: "send"; readonly frame: FrameKind; readonly payload: Uint8Array }
  | {
      readonly kind: "open";
      readonly peer: string;
      readonly version: number;
      /** To be sent first, if it is there. */
      readonly last?: Extract<HandshakeStep, { kind: "send" }> | undefined;
    }
  /** The other side is not who is wanted; it is told why. */
  | { readonly kind: "refuse"; readonly reason: Refusal }
  /** It said so itself. */
  | { readonly kind: "refused"; readonly reason: Refusal };

interface Hello {
  readonly versions: { readonly min: number; readonly max: number };
  readonly cluster: string;
  readonly node: string;
}

export interface ClientExpectation {
  /** The node that is meant to be there; any when absent. */
  readonly node?: string | undefined;
  /** The transport has proven the server. */
  readonly authenticated: boolean;
}

/** One side's part; a frame that does not belong there is a {@linkcode ProtocolError}. */
export interface Handshake {
  step(frame: Frame): HandshakeStep;
}

export class ClientHandshake implements Handshake {
  readonly #who: Identity & Credentials;
  readonly #expects: ClientExpectation;
  readonly #hmac: Hmac;
  readonly #hello: Uint8Array;
  #proven: { challenge: Uint8Array; peer: string; version: number; mac: boolean } | undefined;

  constructor(who: Identity & Credentials, expects: ClientExpectation, ports: HandshakePorts) {
    checkSecret(who);
    this.#who = who;
    this.#expects = expects;
    this.#hmac = ports.hmac;
    this.#hello = encodeHello(who, ports.entropy(NONCE_SIZE));
  }

  begin(): Extract<HandshakeStep, { kind: "send" }> {
    return { kind: "send", frame: FRAME.hello, payload: this.#hello };
  }

  step({ kind, payload: reader }: Frame): HandshakeStep {
    const payload = reader.rest().slice(); // the chunk it came in need not live on
    if (kind === FRAME.refusal) return { kind: "refused", reason: decodeRefusal(payload) };
    if (kind === FRAME.challenge && !this.#proven) return this.#prove(payload);
    if (kind === FRAME.welcome && this.#proven) return this.#believe(payload);
    throw new ProtocolError(`a frame of kind ${kind} in a handshake`);
  }

  #prove(challenge: Uint8Array): HandshakeStep {
    const { version, wantsProof, node } = decodeChallenge(challenge);
    const { versions = { min: VERSION, max: VERSION }, secret } = this.#who;
    if (version < versions.min || version > versions.max) return refuse("version");
    if (this.#expects.node !== undefined && node !== this.#expects.node) return refuse("node");
    // A server that wants no proof gives none either: then the transport must have.
    if (wantsProof !== (secret !== undefined)) return refuse("unauthorized");
    if (!secret && !this.#expects.authenticated) return refuse("unauthorized");
    this.#proven = { challenge, peer: node, version, mac: wantsProof };
    const payload = secret ? this.#macOf("client", challenge) : new Uint8Array(0);
    return { kind: "send", frame: FRAME.proof, payload };
  }

  #believe(welcome: Uint8Array): HandshakeStep {
    const { challenge, peer, version, mac } = this.#proven ?? unproven();
    const expected = mac ? this.#macOf("server", challenge) : new Uint8Array(0);
    if (!equalSecrets(welcome, expected)) return refuse("unauthorized");
    return { kind: "open", peer, version };
  }

  #macOf(role: "client" | "server", challenge: Uint8Array): Uint8Array {
    const secret = this.#who.secret ?? unproven();
    return mac({ hmac: this.#hmac, secret, role }, this.#hello, challenge);
  }
}

export class ServerHandshake implements Handshake {
  readonly #who: Identity & Credentials;
  readonly #ports: HandshakePorts;
  #asked: { hello: Uint8Array; challenge: Uint8Array; peer: string; version: number } | undefined;

  /** @param options.authenticated the transport has proven the client. */
  constructor(
    who: Identity & Credentials,
    { authenticated }: { readonly authenticated: boolean },
    ports: HandshakePorts,
  ) {
    checkSecret(who);
    assert(who.secret || authenticated, "a client is proven by a secret or by its transport");
    this.#who = who;
    this.#ports = ports;
  }

  step({ kind, payload: reader }: Frame): HandshakeStep {
    const payload = reader.rest().slice(); // the chunk it came in need not live on
    if (kind === FRAME.hello && !this.#asked) return this.#ask(payload);
    if (kind === FRAME.proof && this.#asked) return this.#judge(payload);
    throw new ProtocolError(`a frame of kind ${kind} in a handshake`);
  }

  #ask(hello: Uint8Array): HandshakeStep {
    const { versions, cluster, node: peer } = decodeHello(hello);
    const own = this.#who.versions ?? { min: VERSION, max: VERSION };
    const version = Math.min(versions.max, own.max);
    if (version < versions.min || version < own.min) return refuse("version");
    if (cluster !== this.#who.cluster) return refuse("cluster");
    const writer = new ByteWriter();
    writer.u16(version);
    writer.u8(this.#who.secret ? 1 : 0);
    writer.raw(this.#ports.entropy(NONCE_SIZE));
    writer.text(this.#who.node);
    const challenge = writer.take();
    this.#asked = { hello, challenge, peer, version };
    return { kind: "send", frame: FRAME.challenge, payload: challenge };
  }

  #judge(proof: Uint8Array): HandshakeStep {
    const { hello, challenge, peer, version } = this.#asked ?? unproven();
    const { secret } = this.#who;
    const macOf = (role: "client" | "server") =>
      secret ? mac({ hmac: this.#ports.hmac, secret, role }, hello, challenge) : new Uint8Array(0);
    if (!equalSecrets(proof, macOf("client"))) return refuse("unauthorized");
    const last = { kind: "send", frame: FRAME.welcome, payload: macOf("server") } as const;
    return { kind: "open", peer, version, last };
  }
}

export function encodeRefusal(reason: Refusal): Uint8Array {
  return encodeUtf8(reason);
}

const REFUSALS: ReadonlySet<string> = new Set<Refusal>([
  "version",
  "cluster",
  "unauthorized",
  "node",
  "malformed",
  "busy",
]);

function decodeRefusal(payload: Uint8Array): Refusal {
  const reason = decodeUtf8(payload);
  return REFUSALS.has(reason) ? (reason as Refusal) : "malformed";
}

function encodeHello(who: Identity, nonce: Uint8Array): Uint8Array {
  const { versions = { min: VERSION, max: VERSION } } = who;
  assert(
    encodeUtf8(who.node).length <= 128 && encodeUtf8(who.cluster).length <= 128,
    "short names",
  );
  const writer = new ByteWriter();
  writer.u32(MAGIC);
  writer.u16(versions.min);
  writer.u16(versions.max);
  writer.raw(nonce);
  writer.text(who.cluster);
  writer.text(who.node);
  return writer.take();
}

function decodeHello(payload: Uint8Array): Hello {
  const reader = ByteReader.of(payload);
  if (reader.u32() !== MAGIC) throw new ProtocolError("a hello of something else");
  const versions = { min: reader.u16(), max: reader.u16() };
  reader.raw(NONCE_SIZE);
  return { versions, cluster: reader.text(), node: reader.text() };
}

function decodeChallenge(payload: Uint8Array) {
  const reader = ByteReader.of(payload);
  const version = reader.u16();
  const wantsProof = reader.u8() === 1;
  reader.raw(NONCE_SIZE);
  return { version, wantsProof, node: reader.text() };
}

function mac(
  { hmac, secret, role }: { hmac: Hmac; secret: Uint8Array; role: "client" | "server" },
  ...payloads: readonly Uint8Array[]
): Uint8Array {
  const parts = payloads.flatMap((payload) => {
    const size = new Uint8Array(4);
    viewOf(size).setUint32(0, payload.length);
    return [size, payload];
  });
  const made = hmac(secret, concatBytes([encodeUtf8(`tidegate rpc ${role}\n`), ...parts]));
  assert(made.length === MAC_SIZE, "a mac is 32 bytes");
  return made;
}

function checkSecret({ secret }: Credentials): void {
  assert(!secret || secret.length >= SECRET_BYTES_MIN, "a secret is at least 16 bytes");
}

function refuse(reason: Refusal): HandshakeStep {
  return { kind: "refuse", reason };
}

function unproven(): never {
  throw new ProtocolError("a handshake out of order");
}
