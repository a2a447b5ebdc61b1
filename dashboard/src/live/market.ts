// Which market the prices are of, where several answers say so. Pure.

import type { Market } from "./types.ts"

/** From the market that claims least to the real one. */
const MARKETS: readonly Market[] = ["demo", "recorded", "polygon"]

/** Of the markets that are named the one that claims least, since an old connection may name another one than the prices that are shown;
 * null where none is named. */
export function leastMarket(named: readonly (Market | null | undefined)[]): Market | null {
  return MARKETS.find((market) => named.includes(market)) ?? null
}
