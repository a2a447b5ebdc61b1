import { describe, expect, it } from "vitest"
import { addressOf, parsed, unknownSentence } from "./router.ts"

describe("the address of the page", () => {
  it.each([
    ["/", "", { view: "today", ticker: "SPY", at: null }],
    ["/dashboard", "", { view: "today", ticker: "SPY", at: null }],
    ["/dashboard/QQQ", "", { view: "today", ticker: "QQQ", at: null }],
    ["/dashboard/spy", "", { view: "today", ticker: "SPY", at: null }],
    ["/dashboard/Qqq/record", "", { view: "record", ticker: "QQQ", at: null }],
    ["/dashboard/IWM/", "", { view: "today", ticker: "IWM", at: null }],
    ["/dashboard/SPY/record", "", { view: "record", ticker: "SPY", at: null }],
    ["/dashboard/SPY/model", "", { view: "model", ticker: "SPY", at: null }],
    ["/dashboard/system", "", { view: "system", ticker: "SPY", at: null }],
    [
      "/dashboard/SPY",
      "?date=2026-01-05&time=14:00",
      { view: "replay", ticker: "SPY", at: { date: "2026-01-05", time: "14:00" } },
    ],
    [
      "/dashboard/SPY",
      "?date=2026-01-05",
      { view: "replay", ticker: "SPY", at: { date: "2026-01-05", time: "16:00" } },
    ],
    [
      "/dashboard/SPY",
      "?date=2024-02-29",
      { view: "replay", ticker: "SPY", at: { date: "2024-02-29", time: "16:00" } },
    ],
  ] as const)("%s%s says what is shown", (path, query, route) => {
    expect(parsed(path, query)).toEqual(route)
  })

  it.each([
    ["/dashboard/TSLA", ""],
    ["/dashboard/SPY/none", ""],
    ["/dashboard/SPY/record/more", ""],
    ["/dashboard/SPY", "?date=2026-13-05"],
    ["/dashboard/SPY", "?date=2025-02-31"],
    ["/dashboard/SPY", "?date=2025-02-29"],
    ["/dashboard/SPY", "?date=2025-06-00"],
    ["/dashboard/SPY", "?date=2026-01-05&time=25:00"],
  ])("%s%s is unknown", (path, query) => {
    expect(parsed(path, query).view).toBe("unknown")
  })

  it.each([
    ["/dashboard/tsla", "This server has no signals of TSLA. It has those of SPY, QQQ and IWM."],
    ["/dashboard/SPY/none", "A view, a day or a time in the address is not known."],
    ["/dashboard/SPY", "A view, a day or a time in the address is not known."],
    ["/dashboard/%3Cb%3E", "A view, a day or a time in the address is not known."],
  ])("%s that is unknown says why", (path, said) => {
    expect(unknownSentence(path)).toBe(said)
  })

  it.each([
    "/dashboard/QQQ",
    "/dashboard/SPY/record",
    "/dashboard/IWM/model",
    "/dashboard/system",
    "/dashboard/SPY?date=2026-01-05&time=14:00",
  ])("%s is the address of its own route", (address) => {
    const [path = "", query = ""] = address.split(/(?=\?)/)
    expect(addressOf(parsed(path, query))).toBe(address)
  })
})
