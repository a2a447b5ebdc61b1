// What the copy buttons of a card put on the clipboard. Pure.

import { newYorkInstant, withOffset } from "../../format/newyork.ts"
import type { TradingSignal } from "../../live/types.ts"
import type { Moment } from "../../router.ts"

/** The signal as JSON, as it is shown. */
export function asJson(signal: TradingSignal): string {
  return JSON.stringify(signal, null, 2)
}

/** A command that asks the server for what is shown. The key is not in it: the shell is asked for it. */
export function asCurl(origin: string, ticker: string, at: Moment | null, needsKey: boolean): string {
  const moment = at === null ? "" : withOffset(newYorkInstant(at.date, at.time))
  const path = at === null ? `/v2/trading-directions/${ticker}` : `/v2/replay/${ticker}?at=${moment}`
  const header = needsKey ? ` -H "X-API-Key: $PREDICT_API_KEY"` : ""
  return `curl${header} "${origin}${path}"`
}
