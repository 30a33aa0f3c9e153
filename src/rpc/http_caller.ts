/**
 * Calls by one HTTP request each, for isolates that cannot keep a socket: the
 * frame of the request as its body, the frame of the response as the answer's.
 *
 * There is nothing between two calls, so no connection can be lost, no stream kept
 * and no cancel sent: giving up ends the request, and with it the wait for its
 * answer. Nor is there an order: calls made at once may overtake each other.
 *
 * Whatever is not an answer proven to come from the server (http_signature.ts) may
 * have been sent by anybody on the way: then the outcome is unknown.
 *
 * @module
 */

import type { Crc32 } from "../../storage/base/checksum.ts";
import type { Clock } from "../../storage/base/clock.ts";
import type { StopSignal } from "../broker/api.ts";
import { ByteWriter } from "./byte_writer.ts";
import {
  CALL_TIMEOUT_MS,
  type Caller,
  outcomeUnknown,
  type RpcOptions,
  tooMuch,
  unavailable,
} from "./caller.ts";
import { errorCodec } from "./error_codec.ts";
import {
  decodeWhole,
  FLAG,
  FRAME,
  FRAME_SIZE_MAX,
  type Frame,
  timeLeft,
  writeFrame,
} from "./frame.ts";
import { readBody } from "./http_body.ts";
import { HttpSigner, SIGNATURE_HEADER } from "./http_signature.ts";
import { LIMITS } from "./limits.ts";
import { type CallMethod, effectOf } from "./method.ts";
import { ProtocolError } from "./protocol_error.ts";

export interface HttpCallerPorts {
  readonly clock: Clock;
  readonly crc32: Crc32;
  entropy(size: number): Uint8Array;
  /** The global one, or one that keeps its connections better. */
  readonly fetch: (request: Request) => Promise<Response>;
}

export interface HttpCallerOptions {
  readonly url: string;
  readonly cluster: string;
  readonly node: string;
  readonly secret: Uint8Array;
}

export class HttpCaller implements Caller {
  readonly #ports: HttpCallerPorts;
  readonly #options: HttpCallerOptions;
  readonly #signer: HttpSigner;
  #calls = 0;
  #bytes = 0;

  constructor(ports: HttpCallerPorts, options: HttpCallerOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#signer = new HttpSigner(options);
  }

  async call<Request, Response>(
    method: CallMethod<Request, Response>,
    request: NoInfer<Request>,
    { signal, timeoutMs = CALL_TIMEOUT_MS }: RpcOptions = {},
  ): Promise<Response> {
    const { callsMax, callBytesMax } = LIMITS;
    const full = this.#calls >= callsMax || this.#bytes >= callBytesMax;
    if (full) throw tooMuch(method.name, callsMax);
    const body = this.#encode(method, { request, timeoutMs });
    const lost = effectOf(method, request) === "none" ? unavailable : outcomeUnknown;
    this.#calls++;
    this.#bytes += body.length;
    try {
      return read(method, await this.#exchange(body, { signal, timeoutMs }));
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      throw lost(method.name, error.message);
    } finally {
      this.#calls--;
      this.#bytes -= body.length;
    }
  }

  #encode<Request>(
    method: CallMethod<Request, unknown>,
    { request, timeoutMs }: { readonly request: Request; readonly timeoutMs: number },
  ): Uint8Array<ArrayBuffer> {
    const writer = new ByteWriter();
    const head = {
      kind: FRAME.request,
      methodId: method.id,
      callId: 1,
      value: timeLeft(timeoutMs),
    };
    const { crc32 } = this.#ports;
    writeFrame(writer, head, { crc32, write: (to) => method.request.write(to, request) });
    return writer.take();
  }

  /** @throws {NoAnswer} */
  async #exchange(
    body: Uint8Array<ArrayBuffer>,
    { signal, timeoutMs }: { readonly signal: StopSignal | undefined; readonly timeoutMs: number },
  ): Promise<Frame> {
    const { clock } = this.#ports;
    const end = new AbortController();
    const giveUp = () => end.abort();
    const cancel = clock.after(timeoutMs, giveUp);
    signal?.addEventListener("abort", giveUp);
    if (signal?.aborted) giveUp();
    try {
      return await this.#ask(body, end.signal);
    } catch (error) {
      if (error instanceof NoAnswer) throw error;
      const why = end.signal.aborted ? "it was given up" : "no answer came";
      throw new NoAnswer(why, { cause: error });
    } finally {
      cancel();
      signal?.removeEventListener("abort", giveUp);
    }
  }

  async #ask(body: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<Frame> {
    const { clock, crc32, entropy, fetch } = this.#ports;
    const { node, url } = this.#options;
    const who = { node, time: clock.now(), nonce: entropy(16) };
    const { header, nonce } = await this.#signer.request(body, who);
    const headers = { [SIGNATURE_HEADER]: header, "content-type": "application/octet-stream" };
    const init = { method: "POST", headers, body, signal, redirect: "manual" } as const;
    const response = await fetch(new Request(url, init));
    const answer = await readBody(response, { sizeMax: FRAME_SIZE_MAX, signal });
    const proof = response.headers.get(SIGNATURE_HEADER) ?? "";
    if (!(await this.#signer.isAnswer(proof, { body: answer, nonce }))) {
      throw new NoAnswer(`answered ${response.status}, not by a node of the cluster`);
    }
    const frame = decodeWhole(answer, crc32);
    if (frame.kind !== FRAME.response) throw new ProtocolError("an answer that is no response");
    return frame;
  }
}

/** There is no answer to believe; the message says why. */
class NoAnswer extends Error {
  override readonly name = "NoAnswer";
}

/** @throws the error that was answered; {@linkcode NoAnswer} when it cannot be read. */
function read<Response>(
  { response: codec }: Pick<CallMethod<never, Response>, "response">,
  { flags, payload }: Frame,
): Response {
  try {
    if (flags & FLAG.failed) throw errorCodec.read(payload);
    const response = codec.read(payload);
    payload.end();
    return response;
  } catch (error) {
    if (error instanceof ProtocolError) throw new NoAnswer("the answer cannot be read");
    throw error;
  }
}
