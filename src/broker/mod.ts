/**
 * The door of the broker room.
 *
 * @module
 */

export { type Broker, type BrokerOptions, type BrokerPorts, openBroker } from "./broker.ts";
