import { expect, it } from "vitest"
import { acrossOf } from "./across.ts"

it.each([
  ["demo", false, "DEMO every price on this page is invented"],
  ["recorded", false, "RECORDED prices of a past day, played again"],
  ["demo", true, "REPLAY of DEMO: a past moment, prices are invented"],
  ["recorded", true, "REPLAY of RECORDED: a past moment of a market that is played again"],
  ["polygon", true, "REPLAY a past moment, not now"],
] as const)("of the market %s (replay: %s) the page says across: %s", (market, isReplay, said) => {
  const across = acrossOf(market, isReplay)
  expect(`${across?.words} ${across?.text}`).toBe(said)
})

it("nothing stands across the live market", () => {
  expect(acrossOf("polygon", false)).toBeNull()
})
