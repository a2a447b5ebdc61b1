import { describe, expect, it } from "vitest"
import type { Bar, BarSeries } from "../../api/types.ts"
import { newYorkInstant, wallSeconds } from "../../format/newyork.ts"
import { chartOf } from "./chart.ts"
import { moved, PAGE } from "./cursor.ts"
import { decidedBy, ofRecord, ofSeries } from "./decisions.ts"
import { dailyBar, minuteBars, recorded, SESSION } from "./fixtures.ts"
import { dayBefore, daysKnownAt, endedBy, isBehind } from "./known.ts"
import { openingRange, pivots, rangeOf, vwap } from "./measures.ts"
import { barInWords, sentenceOf, sentenceOfDays, summaryOf, type Day } from "./sentence.ts"
import { decisionsOn, levelsOf, marksOf, slotsOf, slotsOfDays, SPANS, vwapAt } from "./view.ts"
import type { TradingSignal } from "../../live/types.ts"

const DAY = SESSION.day
const NOTHING: Day = {
  ticker: "SPY",
  bars: [],
  open: null,
  now: null,
  openingRange: null,
  vwap: null,
  pivots: null,
  at11: null,
  decisions: [],
}

function oneOf(bars: readonly Bar[]): Bar {
  const [first] = bars
  if (first === undefined) throw new Error("there is a bar")
  return first
}

function wall(seconds: number | undefined): string {
  return new Date((seconds ?? NaN) * 1000).toISOString().slice(0, 16)
}

describe("at a past moment", () => {
  it.each([
    ["09:30", 0],
    ["09:31", 1],
    ["14:35", 305],
    ["16:00", 390],
  ])("%s, %i one-minute bars had ended", (time, count) => {
    expect(endedBy(minuteBars(390), newYorkInstant(DAY, time)).length).toBe(count)
  })

  it("a longer bar that had begun is not shown", () => {
    const shown = endedBy(minuteBars(26, 15), newYorkInstant(DAY, "14:35"))
    expect(shown.at(-1)?.end).toBe("2026-03-09T14:30:00-04:00")
  })

  it("the day's own daily bar is not shown until a quarter of an hour after the close", () => {
    const days = [dailyBar("2026-03-06", 99), dailyBar(DAY, 101)]
    expect(daysKnownAt(days, newYorkInstant(DAY, "16:14")).length).toBe(1)
    expect(daysKnownAt(days, newYorkInstant(DAY, "16:15")).length).toBe(2)
    expect(dayBefore(days, DAY)?.open).toBe(99)
    expect(dayBefore(days, "2026-03-06")).toBeNull()
  })

  it("the opening range is not known before ten", () => {
    expect(openingRange(minuteBars(29), SESSION)).toBeNull()
    expect(openingRange(minuteBars(30), SESSION)).toEqual(openingRange(minuteBars(390), SESSION))
  })

  it("a decision is shown once it was out, or once the signal that is shown says it", () => {
    const decisions = [recorded(13, "BUY_PUT"), recorded(14, "BUY_CALL")].map(ofRecord)
    const hours = (time: string, signal: TradingSignal | null): number[] =>
      decidedBy(decisions, newYorkInstant(DAY, time), signal).map(({ hour }) => hour)
    const locked = {
      ...recorded(14, "BUY_CALL"),
      lock: { state: "locked", locked_at: "2026-03-09T14:00:00-04:00" },
    } as unknown as TradingSignal
    expect(hours("14:00", null)).toEqual([13])
    expect(hours("14:00", locked)).toEqual([13, 14])
    expect(hours("14:02", null)).toEqual([13, 14])
    expect(decidedBy(decisions, null, null).length).toBe(2)
  })
})

describe("bars of now", () => {
  it.each([
    ["1m", minuteBars(150), "2026-03-09T12:02:00-04:00", false],
    ["1m", minuteBars(150), "2026-03-09T12:03:00-04:00", true],
    ["15m", minuteBars(10, 15), "2026-03-09T12:29:00-04:00", false],
    ["15m", minuteBars(10, 15), "2026-03-09T12:31:00-04:00", true],
    ["1m", minuteBars(390), "2026-03-10T09:31:00-04:00", true],
    ["1m", [], "2026-03-09T12:03:00-04:00", false],
    ["1m", minuteBars(150), null, false],
  ] as const)(
    "of %s are behind where the newest ended more than two bars before the ticker's",
    (_, bars, asOf, behind) => {
      expect(isBehind(bars, asOf, 0)).toBe(behind)
    },
  )

  it("may be late by what passes on a fast clock while they are asked for", () => {
    expect(isBehind(minuteBars(150), "2026-03-09T12:10:00-04:00", 8 * 60_000)).toBe(false)
    expect(isBehind(minuteBars(150), "2026-03-09T12:11:00-04:00", 8 * 60_000)).toBe(true)
  })
})

describe("what is measured", () => {
  it("VWAP weighs prices by their volume from the open on", () => {
    const [first, second] = [oneOf(minuteBars(2)), oneOf(minuteBars(2).slice(1))]
    const typical = (bar: typeof first): number => (bar.high + bar.low + bar.close) / 3
    const [one, both] = vwap([first, { ...second, volume: 3000 }])
    expect(one).toBeCloseTo(typical(first), 10)
    expect(both).toBeCloseTo((typical(first) + 3 * typical(second)) / 4, 10)
    expect(vwap([{ ...first, volume: 0 }])).toEqual([first.close])
  })

  it("pivots are those of the day before (northstar.md 3.9)", () => {
    const previous = { ...dailyBar("2026-03-06", 0), high: 459.63, low: 454.39, close: 459.19 }
    expect(pivots(previous)).toEqual({ pivot: 457.74, r1: 461.09, s1: 455.85 })
  })

  it("there is no range without bars", () => {
    expect(rangeOf([])).toBeNull()
  })
})

describe("the places of bars", () => {
  it("are those of the whole session from the beginning, so that nothing moves when a bar comes", () => {
    const [early, late] = [slotsOf(SESSION, "1m", minuteBars(3)), slotsOf(SESSION, "1m", minuteBars(300))]
    expect(early.map(({ time }) => time)).toEqual(late.map(({ time }) => time))
    expect(early.length).toBe(390)
    expect(early.filter(({ bar }) => bar !== null).length).toBe(3)
    expect(slotsOf(SESSION, "15m", minuteBars(2, 15)).length).toBe(26)
  })

  it.each([
    ["2026-03-06", "-05:00"],
    ["2026-03-09", "-04:00"],
    ["2026-10-30", "-04:00"],
    ["2026-11-02", "-05:00"],
  ])("begin at 09:30 on %s, around a change of clocks", (day, offset) => {
    const session = { ...SESSION, day, open: `${day}T09:30:00${offset}`, close: `${day}T16:00:00${offset}` }
    const slots = slotsOf(session, "5m", minuteBars(1, 5, session))
    expect(wall(slots[0]?.time)).toBe(`${day}T09:30`)
    expect(slots[0]?.bar).not.toBeNull()
    expect(wall(slots.at(-1)?.time)).toBe(`${day}T15:55`)
  })

  it("of days are their dates, on both sides of a change of clocks", () => {
    const days = [{ ...dailyBar("2026-03-06", 99), start: "2026-03-06T00:00:00-05:00" }, dailyBar("2026-03-09", 101)]
    expect(slotsOfDays(days).map(({ time }) => wall(time))).toEqual(["2026-03-06T00:00", "2026-03-09T00:00"])
  })

  it("a minute without trades has an empty one", () => {
    const bars = minuteBars(5).filter((_, place) => place !== 2)
    expect(slotsOf(SESSION, "1m", bars)[2]).toMatchObject({ bar: null })
  })
})

describe("what is drawn", () => {
  it("the VWAP of a longer bar is that of its last minute, or of the last one that traded", () => {
    const minutes = minuteBars(10).filter((_, place) => place !== 9)
    const values = minutes.map((_, place) => place)
    expect(vwapAt(minuteBars(2, 5), minutes, values)).toEqual([4, 4])
  })

  it("a decision stands on the last bar that had ended when it was made", () => {
    const decisions = [recorded(10, "NO_TRADE"), recorded(14, "BUY_CALL")].map(ofRecord)
    const bars = minuteBars(300)
    expect(marksOf(decisions, bars).map(({ time, text, tone }) => [wall(time), text, tone])).toEqual([
      ["2026-03-09T09:59", "10", "none"],
      ["2026-03-09T13:59", "14 BUY CALL", "call"],
    ])
    const five = minuteBars(60, 5)
    expect(marksOf(decisions, five).map(({ time }) => wall(time).slice(11))).toEqual(["09:55", "13:55"])
    expect(decisionsOn(oneOf(bars.slice(29)), decisions, bars).map(({ hour }) => hour)).toEqual([10])
  })

  it("only levels that are known have a line", () => {
    expect(levelsOf(NOTHING)).toEqual([])
    expect(levelsOf({ ...NOTHING, at11: 101, open: 100 }).map(({ title }) => title)).toEqual(["Open", "11:00"])
  })
})

describe("the chart as a whole", () => {
  const series = (bars: readonly Bar[], session: typeof SESSION | null): BarSeries =>
    ({ bars, session, session_open: session === null ? null : 100, last_day: DAY }) as unknown as BarSeries
  const known = {
    ticker: "SPY",
    finest: series(minuteBars(390), SESSION),
    days: series([dailyBar("2026-03-06", 99), dailyBar(DAY, 101)], null),
    decisions: [10, 11, 12, 13, 14, 15].map((hour) => ofRecord(recorded(hour, "BUY_CALL"))),
    signal: null,
  }
  const drawn = {
    "1m": known.finest,
    "5m": series(minuteBars(78, 5), SESSION),
    "15m": series(minuteBars(26, 15), SESSION),
    "1d": null,
  }
  const times = ["09:30", "09:45", "10:00", "11:00", "14:35", "15:59", "16:00", "16:14"]

  it.each(times.flatMap((time) => SPANS.map((span) => [time, span] as const)))(
    "of a replay at %s in bars of %s holds nothing of what came later",
    (time, span) => {
      const at = newYorkInstant(DAY, time)
      const chart = chartOf({ ...known, span, drawn: drawn[span], at })
      const ends = [...chart.bars, ...chart.day.bars].map((bar) => Date.parse(bar.end))
      expect(Math.max(0, ...ends)).toBeLessThanOrEqual(at)
      const shown = chart.view.slots.flatMap(({ bar }) => (bar === null ? [] : [bar]))
      expect(shown).toEqual(chart.bars)
      const latest = wallSeconds(at)
      for (const { time: place } of [...chart.view.vwap, ...chart.view.marks]) expect(place).toBeLessThan(latest)
      for (const { lockedAt } of chart.day.decisions) expect(Date.parse(lockedAt)).toBeLessThanOrEqual(at)
    },
  )

  it("of a replay at the close is that of the day afterwards, but for its own daily bar", () => {
    const [then, now] = [newYorkInstant(DAY, "16:00"), null].map((at) =>
      chartOf({ ...known, span: "1m", drawn: known.finest, at }),
    )
    expect(then?.view).toEqual(now?.view)
    expect(then?.sentence).toBe(now?.sentence)
  })

  it("has the newer price of the signal's and the newest bar's", () => {
    const at = newYorkInstant(DAY, "10:00")
    const price = (asOf: string): number | null => {
      const signal = { as_of: asOf, decision_hour: null, lock: { locked_at: null }, prices: { now: 77, at_11: null } }
      return chartOf({ ...known, span: "1m", drawn: known.finest, at, signal: signal as unknown as TradingSignal }).day
        .now
    }
    expect(price("2026-03-09T09:59:00-04:00")).toBe(103)
    expect(price("2026-03-09T10:01:00-04:00")).toBe(77)
  })

  it("of a day with five-minute bars alone has its levels out of them", () => {
    const fives = drawn["5m"]
    const { day, sentence, summary, view } = chartOf({ ...known, span: "5m", finest: fives, drawn: fives, at: null })
    expect(day.openingRange).toEqual(rangeOf(minuteBars(6, 5)))
    expect(view.vwap.length).toBe(78)
    expect(sentence).toMatch(/above VWAP .* above the opening range/)
    expect(summary[0]).toBe("78 bars of 5 minutes from 09:30 to 16:00.")
  })

  it("is empty and says so while nothing is known", () => {
    const nothing = { ...known, finest: null, drawn: null, days: null, decisions: [] }
    for (const span of SPANS) expect(chartOf({ ...nothing, span, at: null }).bars).toEqual([])
    expect(chartOf({ ...nothing, span: "1m", at: null }).sentence).toBe("SPY has no bar of the session yet.")
  })
})

describe("words", () => {
  const bars = minuteBars(300)
  const day: Day = {
    ...NOTHING,
    bars,
    open: 100,
    openingRange: { high: 103.1, low: 99.9 },
    vwap: 115.02,
    pivots: { pivot: 130, r1: 140, s1: 120 },
    at11: 109,
    decisions: [ofRecord(recorded(14, "BUY_CALL"))],
  }

  it("the sentence above the chart says where the price stands", () => {
    expect(sentenceOf(day)).toBe(
      "SPY at $130.00 (14:30 New York) is +$30.00 (+30.00%) from its open, above VWAP ($115.02), above the opening range, " +
        "between the pivot ($130.00) and R1 and above its 11:00 price.",
    )
  })

  it("it leaves out what is not known", () => {
    expect(sentenceOf({ ...NOTHING, bars })).toBe("SPY at $130.00 (14:30 New York).")
    expect(sentenceOf(NOTHING)).toBe("SPY has no bar of the session yet.")
  })

  it.each([
    [119, "below S1 ($120.00)"],
    [121, "between S1 and the pivot ($130.00)"],
    [140, "above R1 ($140.00)"],
  ])("at $%i it is %s", (price, words) => {
    const bar = { ...oneOf(minuteBars(1)), close: price }
    expect(sentenceOf({ ...NOTHING, bars: [bar], pivots: day.pivots })).toContain(words)
  })

  it("the summary has extremes with their times, levels and decisions", () => {
    const text = summaryOf(day).join(" ")
    expect(text).toContain("300 bars of 1 minute from 09:30 to 14:30.")
    expect(text).toContain("Highest $130.10 at 14:29, lowest $99.90 at 09:30, last $130.00.")
    expect(text).toContain("Opening range $99.90 to $103.10.")
    expect(text).toContain("Decisions: 14:00 BUY CALL at $103.10, 78.1%.")
    expect(summaryOf(NOTHING)).toEqual(["There are no bars of SPY yet."])
  })

  it("the cursor says a bar's values, and a decision on it", () => {
    const bar = oneOf(minuteBars(1))
    expect(barInWords(bar, 100.07, false, day.decisions)).toBe(
      "09:30 to 09:31: open $100.00, high $100.20, low $99.90, close $100.10, volume 1,000, VWAP $100.07, " +
        "14:00 BUY CALL at $103.10, 78.1%.",
    )
    expect(barInWords(dailyBar(DAY, 100), null, true, [])).toContain("Mon 9 Mar 2026: open $100.00")
  })

  it("daily bars say their change", () => {
    const days = [dailyBar("2026-03-06", 99), dailyBar(DAY, 101)]
    expect(sentenceOfDays("SPY", days)).toBe("SPY closed at $101.10 on Mon 9 Mar 2026, +2.02% from Fri 6 Mar 2026.")
    expect(sentenceOfDays("SPY", [])).toBe("SPY has no daily bars.")
  })
})

describe("a series of replays", () => {
  it("has one decision for each hour, and none where the hour had none", () => {
    const signal = (hour: number, state: string): TradingSignal =>
      ({
        ...recorded(hour, "NO_TRADE"),
        lock: { state, locked_at: `2026-03-09T${hour}:00:00-04:00` },
      }) as unknown as TradingSignal
    const signals = [signal(10, "locked"), signal(11, "none"), signal(12, "locked")]
    expect(ofSeries(signals).map(({ hour }) => hour)).toEqual([10, 12])
  })
})

describe("the keyboard cursor", () => {
  it.each([
    ["ArrowLeft", 4],
    ["ArrowRight", 6],
    ["PageDown", 0],
    ["PageUp", 5 + PAGE],
    ["Home", 0],
    ["End", 19],
  ])("%s moves it to bar %i and never beyond the bars", (key, index) => {
    expect(moved(key, 5, 20)).toBe(index)
  })

  it("leaves other keys to the page", () => {
    expect(moved("Tab", 5, 20)).toBeNull()
    expect(moved("End", 0, 0)).toBeNull()
  })
})
