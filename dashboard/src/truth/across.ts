// What stands across the page where its prices are not those of the market now. Pure.

import type { Market } from "../live/types.ts"

export interface Across {
  /** The word that the page is marked with. */
  readonly mark: "DEMO" | "RECORDED" | "REPLAY"
  readonly words: string
  readonly text: string
}

const DEMO: Across = { mark: "DEMO", words: "DEMO", text: "every price on this page is invented" }
const RECORDED: Across = { mark: "RECORDED", words: "RECORDED", text: "prices of a past day, played again" }
const REPLAYS: Readonly<Record<Market, Omit<Across, "mark">>> = {
  demo: { words: "REPLAY of DEMO:", text: "a past moment, prices are invented" },
  recorded: { words: "REPLAY of RECORDED:", text: "a past moment of a market that is played again" },
  polygon: { words: "REPLAY", text: "a past moment, not now" },
}

/** What is said of a market, now or in a replay; null for the live market, and while it is not known. */
export function acrossOf(market: Market | null, isReplay: boolean): Across | null {
  if (isReplay) return { mark: "REPLAY", ...REPLAYS[market ?? "polygon"] }
  if (market === "demo") return DEMO
  return market === "recorded" ? RECORDED : null
}
