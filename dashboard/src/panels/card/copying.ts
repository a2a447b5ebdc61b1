// What the copy buttons of a card put on the clipboard. Pure.

import type { TradingSignal } from "../../live/types.ts"
import type { Moment } from "../../router.ts"

/** The signal as JSON, as it is shown. */
export function asJson(signal: TradingSignal): string {
  return JSON.stringify(signal, null, 2)
}

/** A command that asks the server for what is shown. The key is not in it: the shell is asked for it. */
export function asCurl(origin: string, ticker: string, at: Moment | null, offset: string, needsKey: boolean): string {
  const path =
    at === null ? `/v2/trading-directions/${ticker}` : `/v2/replay/${ticker}?at=${at.date}T${at.time}:00${offset}`
  const header = needsKey ? ` -H "X-API-Key: $PREDICT_API_KEY"` : ""
  return `curl${header} "${origin}${path}"`
}

/** The offset of New York as ISO 8601 writes it: −4 hours are `-04:00`. */
export function offsetText(offsetMs: number): string {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000)
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60]
  return `${offsetMs < 0 ? "-" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`
}
