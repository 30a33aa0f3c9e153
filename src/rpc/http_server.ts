/**
 * The server of `http_caller.ts`: a function from `Request` to `Response`, to be
 * mounted wherever there is an HTTP server.
 *
 *   judge the signature ─▶ read the body ─▶ decode ─▶ run ─▶ sign the answer
 *     401                    400 413          400
 *
 * A failure before the request is known to come from the cluster is told by its
 * status alone; everything after is an answer, errors of methods included.
 *
 * Bounded: calls under way and the bytes of their requests (503), remembered
 * nonces (503), the time a body may take (400).
 *
 * @module
 */

import type { Crc32 } from "../../storage/base/checksum.ts";
import type { Clock } from "../../storage/base/clock.ts";
import { Deadlines } from "../../storage/base/deadlines.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Log } from "../../storage/base/logger.ts";
import { ByteWriter } from "./byte_writer.ts";
import { errorCodec, tellable } from "./error_codec.ts";
import { decodeWhole, FLAG, FRAME, type Frame, FRAME_SIZE_MAX, writeFrame } from "./frame.ts";
import { readBody } from "./http_body.ts";
import { digestOf, HttpSigner, SIGNATURE_HEADER, type Signed } from "./http_signature.ts";
import { LIMITS } from "./limits.ts";
import type { Services } from "./method.ts";
import { NonceBook } from "./nonce_book.ts";
import { ProtocolError } from "./protocol_error.ts";
import { ServerCall } from "./server_call.ts";

export interface HttpServerPorts {
  readonly clock: Clock;
  readonly crc32: Crc32;
  readonly log: Log;
}

export interface HttpServerOptions {
  readonly cluster: string;
  readonly secret: Uint8Array;
  readonly services: Services;
}

/** A body must be there by then. */
const BODY_MS = 10_000;

type Read = { readonly frame: Frame } | { readonly status: number };

export class HttpRpcServer {
  readonly #ports: HttpServerPorts;
  readonly #services: Services;
  readonly #signer: HttpSigner;
  readonly #nonces: NonceBook;
  readonly #deadlines: Deadlines;
  #calls = 0;
  #bytes = 0;

  constructor(ports: HttpServerPorts, options: HttpServerOptions) {
    this.#ports = ports;
    this.#services = options.services;
    this.#signer = new HttpSigner(options);
    this.#nonces = new NonceBook(ports.clock);
    this.#deadlines = new Deadlines(ports.clock);
  }

  /** Never rejects. */
  readonly fetch = async (request: Request): Promise<Response> => {
    if (request.method !== "POST") return refusal(405);
    const header = request.headers.get(SIGNATURE_HEADER) ?? "";
    const signed = await this.#signer.readRequest(header);
    const judged = signed ? this.#nonces.judge(signed) : "stale";
    if (!signed || judged === "stale") return refusal(401);
    if (signed.size > FRAME_SIZE_MAX) return refusal(413);
    const { callsMax, callBytesMax } = LIMITS;
    const full = this.#calls >= callsMax || this.#bytes + signed.size > callBytesMax;
    if (full || judged === "full") return refusal(503);
    this.#calls++;
    this.#bytes += signed.size;
    try {
      const read = await this.#read(request, signed);
      return "frame" in read
        ? await this.#answer(request, read.frame, signed)
        : refusal(read.status);
    } finally {
      this.#calls--;
      this.#bytes -= signed.size;
    }
  };

  /** No deadline is watched any more. */
  close(): void {
    this.#deadlines.stop();
  }

  async #read(request: Request, { size, digest }: Signed): Promise<Read> {
    const end = new AbortController();
    const cancel = this.#ports.clock.after(BODY_MS, () => end.abort());
    try {
      const body = await readBody(request, { sizeMax: size, signal: end.signal });
      const whole = body.length === size && (await digestOf(body)) === digest;
      if (!whole) return { status: 400 };
      const frame = decodeWhole(body, this.#ports.crc32);
      return frame.kind === FRAME.request ? { frame } : { status: 400 };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return { status: 400 };
    } finally {
      cancel();
    }
  }

  async #answer(request: Request, frame: Frame, { node, nonce }: Signed): Promise<Response> {
    const { callId: id, value: leftMs, payload } = frame;
    const call = new ServerCall({ id, peer: node, size: payload.left });
    const stop = () => call.stop("its caller left");
    request.signal.addEventListener("abort", stop);
    if (request.signal.aborted) stop();
    if (leftMs > 0) this.#deadlines.add(this.#ports.clock.elapsed() + leftMs, call);
    const body = await this.#run(call, frame);
    call.isOver = true;
    request.signal.removeEventListener("abort", stop);
    const headers = {
      "content-type": "application/octet-stream",
      [SIGNATURE_HEADER]: await this.#signer.answer(body, nonce),
    };
    return new Response(body, { headers });
  }

  async #run(call: ServerCall, frame: Frame): Promise<Uint8Array<ArrayBuffer>> {
    const writer = new ByteWriter();
    const { crc32, log } = this.#ports;
    const service = this.#services.of(frame.methodId);
    try {
      if (service?.method.kind !== "call" || frame.flags & FLAG.stream)
        throw absent(frame.methodId);
      const request = service.method.request.read(frame.payload);
      frame.payload.end();
      const { handler, method } = service as Extract<typeof service, { method: { kind: "call" } }>;
      const response = await handler(request, call);
      const head = { kind: FRAME.response, callId: call.id };
      writeFrame(writer, head, { crc32, write: (to) => method.response.write(to, response) });
    } catch (error) {
      const method = service?.method.name ?? frame.methodId;
      if (!(error instanceof TidegateError || error instanceof ProtocolError)) {
        log("error", "A call failed", { method, error: String(error) });
      }
      const told = error instanceof ProtocolError ? unreadable(error) : tellable(error);
      const head = { kind: FRAME.response, flags: FLAG.failed, callId: call.id };
      writeFrame(writer, head, { crc32, write: (to) => errorCodec.write(to, told) });
    }
    return writer.take();
  }
}

function refusal(status: number): Response {
  return new Response(null, { status });
}

function absent(methodId: number): TidegateError {
  const detail = `Cannot call method ${methodId}: it cannot be called by one request`;
  return new TidegateError("not-implemented", detail, { methodId });
}

function unreadable(error: ProtocolError): TidegateError {
  const detail = `Cannot read the request of a call: ${error.message}`;
  return new TidegateError("invalid-request", detail, {}, error);
}
