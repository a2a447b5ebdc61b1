// What the page knows of the server, from live events. Panels read it; the connection writes it.

import type { Ticker } from "../tickers.ts"
import type { PriceEvent, SignalEvent, SnapshotEvent, StatusEvent } from "./types.ts"

/** How the connection is. `connecting` before the first event, `disconnected` from the moment at which an event is overdue. */
export type Connection = "connecting" | "connected" | "disconnected"

/** The newest event of each kind about a ticker, and the id of the last one. */
export interface TickerEvents {
  readonly signal: SignalEvent | SnapshotEvent | null
  readonly price: PriceEvent | null
  readonly status: StatusEvent | SnapshotEvent | null
  readonly lastId: string | null
}

export const NOTHING: TickerEvents = { signal: null, price: null, status: null, lastId: null }

/** The store. */
export class Live {
  connection: Connection = $state("connecting")
  tickers: Readonly<Record<Ticker, TickerEvents>> = $state.raw({ SPY: NOTHING, QQQ: NOTHING, IWM: NOTHING })
}
