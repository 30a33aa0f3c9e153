/**
 * The door of the room: calls between nodes, and a broker behind them.
 *
 * Web standards only. What opens sockets is `listen_node.ts` and `dial_node.ts`;
 * those are not here, so that an isolate can have the rest.
 *
 * @module
 */

export { type Caller, CALL_TIMEOUT_MS, type RpcOptions, type Subscriber } from "./caller.ts";
export type { SubscribeOptions } from "./caller.ts";
export type { Carrier, CarrierEvents, Dial } from "./carrier.ts";
export { ByteReader } from "./byte_reader.ts";
export { ByteWriter } from "./byte_writer.ts";
export { type Codec, json, rawBytes } from "./codec.ts";
export type { ClientExpectation, Credentials, Identity } from "./handshake.ts";
export { HttpCaller, type HttpCallerOptions, type HttpCallerPorts } from "./http_caller.ts";
export { HttpRpcServer, type HttpServerOptions, type HttpServerPorts } from "./http_server.ts";
export { LIMITS, type Limits } from "./limits.ts";
export {
  type CallContext,
  type CallHandler,
  type CallMethod,
  type Effect,
  type ItemSink,
  Services,
  type StreamHandler,
  type StreamMethod,
} from "./method.ts";
export { Peer, type PeerOptions, type PeerPorts } from "./peer.ts";
export { ProtocolError } from "./protocol_error.ts";
export { RemoteBroker } from "./remote_broker.ts";
export { WATCH_STATUS } from "./broker_methods.ts";
export { RpcServer, type ServerOptions, type ServerPorts } from "./server.ts";
export { type BrokerCalls, serveBroker, serveCalls } from "./serve_broker.ts";
