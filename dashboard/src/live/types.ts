// The types of live events, which `make asyncapi` makes for all clients.
export type * from "../../../clients/typescript/live-events.d.ts"
