/**
 * The door of the broker room.
 *
 * @module
 */

export { type Broker, type BrokerOptions, type BrokerPorts, openBroker } from "./broker.ts";
export {
  openStandby,
  type RestoredLog,
  type Standby,
  type StandbyEvents,
} from "./standby.ts";
